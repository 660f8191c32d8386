//! `[workflows]`: what the Run button does where `.replit` names one, as one command.
//!
//! A workflow is a list of tasks, one after the other until one fails, or all at once. A task is a line for the shell, or
//! another workflow. What it deliberately does not do: install packages, or wait until somebody listens on a port, which
//! `waitForPort` of a task says for those who show the program.

use serde::Deserialize;

use super::FILE;
use super::command::CommandLine;
use crate::error::{Error, Result, printable};
use crate::limits;

/// `[workflows]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase", expecting = "a table: [workflows]")]
pub struct Workflows {
    /// The one that Run starts; if it is empty, that is `run`.
    pub run_button: String,
    /// All that there are.
    #[serde(rename = "workflow")]
    pub all: Vec<Workflow>,
}

/// One of `[[workflows.workflow]]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, expecting = "a table: [[workflows.workflow]]")]
pub struct Workflow {
    /// What others call it.
    pub name: String,
    /// `sequential`, or `parallel`.
    pub mode: String,
    /// What it does.
    pub tasks: Vec<Task>,
}

/// One of `[[workflows.workflow.tasks]]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, expecting = "a table: [[workflows.workflow.tasks]]")]
pub struct Task {
    /// What kind it is.
    pub task: String,
    /// The line, or the workflow's name.
    pub args: String,
}

/// What stands for the packages that nobody installs.
const NOT_INSTALLED: &str =
    "echo 'Packages are not installed by a workflow here: the task packager.installForAll is left out.'";

/// Runs its parts side by side. All of them have the terminal, and ^C ends them, which it would not with `&`: so they are a
/// pipeline whose pipes carry only the first status that is not 0.
const SIDE_BY_SIDE: &str = "\
exec 3<&0 4>&1
passed() { read -r first || first=1; [ \"$first\" != 0 ] || first=$1; echo \"$first\"; }
";

impl Workflows {
    /// What Run starts, in a terminal of its own; `None` if that is not the business of workflows.
    ///
    /// # Errors
    /// If there is no such workflow, one of its tasks is not known, or they are too many.
    pub(super) fn command(&self, shell: &str) -> Result<Option<CommandLine>> {
        if self.run_button.is_empty() {
            return Ok(None);
        }
        let mut script = Script { workflows: self, shell, path: Vec::new(), tasks: 0, side_by_side: false };
        let mut text = script.workflow(&self.run_button)?;
        if script.side_by_side {
            // Once more, now that it is known that all of them have to close what that needs.
            script.tasks = 0;
            text = script.workflow(&self.run_button)?;
        }
        if text.is_empty() {
            return Ok(None);
        }
        // The line that is all it does, as it is.
        if let Some(line) = script.only(&self.run_button) {
            return Ok(Some(CommandLine { args: vec![shell.into(), "-c".into(), line], env: Vec::new() }));
        }
        let before = if script.side_by_side { SIDE_BY_SIDE } else { "" };
        Ok(Some(CommandLine::shell(format!("{before}{text}"))))
    }
}

/// A script that is put together.
struct Script<'a> {
    workflows: &'a Workflows,
    shell: &'a str,
    /// What runs what, down to here.
    path: Vec<&'a str>,
    tasks: usize,
    /// Something in it runs so.
    side_by_side: bool,
}

impl<'a> Script<'a> {
    fn find(&self, name: &str) -> Option<&'a Workflow> {
        self.workflows.all.iter().find(|workflow| workflow.name == name)
    }

    /// What runs this workflow: a command of a shell; empty if it does nothing.
    fn workflow(&mut self, name: &'a str) -> Result<String> {
        let wrong = |why: String| Error::new(format!("{FILE}: the workflow {}: {why}", printable(name)));
        let workflow = self.find(name).ok_or_else(|| {
            let all = self.workflows.all.iter().map(|workflow| printable(&workflow.name));
            wrong(format!("there is none of that name, only: {}", all.collect::<Vec<_>>().join(", ")))
        })?;
        if self.path.contains(&name) {
            return Err(wrong("it runs itself: take that task out of it".to_owned()));
        }
        if self.path.len() >= limits::WORKFLOW_DEPTH {
            return Err(wrong(format!("workflows run each other {} deep at most", limits::WORKFLOW_DEPTH)));
        }
        let parallel = match workflow.mode.as_str() {
            "" | "sequential" => false,
            "parallel" => true,
            other => {
                return Err(wrong(format!("its mode is sequential or parallel, not {}", printable(other))));
            }
        };
        self.path.push(name);
        let mut parts = Vec::new();
        for Task { task, args } in &workflow.tasks {
            self.tasks += 1;
            if self.tasks > limits::WORKFLOW_TASKS {
                return Err(wrong(format!("more than the {} tasks that Run does", limits::WORKFLOW_TASKS)));
            }
            let part = match task.as_str() {
                "shell.exec" if args.contains('\0') => {
                    return Err(wrong("there is a NUL in a task".to_owned()));
                }
                "shell.exec" if args.trim().is_empty() => String::new(),
                "shell.exec" => {
                    let close = if self.side_by_side { " 3<&- 4>&-" } else { "" };
                    // A blank before what could be taken for an option.
                    let blank = if args.starts_with('-') { " " } else { "" };
                    format!("{} -c {}{close}", quoted(self.shell), quoted(&format!("{blank}{args}")))
                }
                "workflow.run" => self.workflow(args)?,
                "packager.installForAll" => NOT_INSTALLED.to_owned(),
                other => {
                    let known = "shell.exec, workflow.run and packager.installForAll";
                    return Err(wrong(format!("there are the tasks {known}, not {}", printable(other))));
                }
            };
            parts.extend(Some(part).filter(|part| !part.is_empty()));
        }
        self.path.pop();
        if parts.len() < 2 {
            return Ok(parts.pop().unwrap_or_default());
        }
        if !parallel {
            return Ok(parts.join(" &&\n"));
        }
        self.side_by_side = true;
        let parts = parts.iter().map(|part| format!("{{ {{\n{part}\n}} <&3 >&4; passed $?; }} |\n"));
        Ok(format!("echo 0 |\n{}(read -r status || status=1; exit \"$status\")", parts.collect::<String>()))
    }

    /// The line of the only task of this workflow, or of the only one that it runs.
    fn only(&self, name: &str) -> Option<String> {
        let [Task { task, args }] = &self.find(name)?.tasks[..] else { return None };
        match task.as_str() {
            "shell.exec" => Some(args.clone()),
            "workflow.run" => self.only(args),
            _ => None,
        }
    }
}

/// One word of a shell.
fn quoted(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-./".contains(&byte);
    match !word.is_empty() && word.bytes().all(plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}
