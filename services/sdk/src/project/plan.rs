//! What Run does: compile, run, and read lines afterwards.
//!
//! What `.replit` says counts: its workflow for the Run button, else its `run`. Where it says neither, the language does: the
//! one that its entrypoint is in, else the one that a client has set, else that of `.replit`, else what the root looks like.
//! The file is the entrypoint of `.replit`, else what the language would take. A file that belongs to a larger program, as
//! `src/main.rs` does to that of a `Cargo.toml`, is run as that.

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::path::{Component, Path, PathBuf};

use super::command::CommandLine;
use super::detect::Detected;
use super::dot_replit::DotReplit;
use super::language::{Detect, Hint, LANGUAGES, Language};
use super::{FILE, Project};
use crate::error::{Error, Result, printable};
use crate::workspace::{FileError, from_wire, to_wire};

/// What Run does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunPlan {
    /// The program's language, as far as it is known.
    pub language: Option<&'static Language>,
    /// The file that is run, from the root; `None` if the program is run as a whole, or it is not known what is run.
    pub entrypoint: Option<PathBuf>,
    /// What has to succeed before.
    pub compile: Option<Step>,
    /// Runs the program.
    pub run: Step,
    /// Runs the program and then reads lines.
    pub repl: Option<Step>,
    /// What that prints when it waits for a line; empty if it is not known.
    pub prompt: Vec<u8>,
    /// What to say to what is printed: those of `.replit` first.
    pub hints: Vec<Hint>,
}

/// One program, for [`Engine::spec`](crate::engine::Engine::spec).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The program and what it is given.
    pub args: Vec<OsString>,
    /// Variables of `.replit` and of the command, over those that programs have anyway.
    pub env: Vec<(OsString, OsString)>,
}

/// What is run: a file, or the program as a whole.
struct Target {
    language: &'static Language,
    compile: &'static [&'static str],
    run: &'static [&'static str],
    file: Option<PathBuf>,
    /// What `{main}` stands for.
    main: String,
}

impl Project<'_> {
    /// What Run does, or, with a `file` as clients name it, what runs that; with a `language`, in that, whatever `.replit` runs.
    /// What is compiled goes into the folder `build`,
    /// which is outside of the workspace and there when the plan is carried out.
    ///
    /// # Errors
    /// If `.replit` is wrong, a file is not there or not within the workspace, or there is nothing to run: with what to do
    /// about it.
    pub fn run_plan(
        &self,
        file: Option<&str>,
        language: Option<&'static Language>,
        build: &Path,
    ) -> Result<RunPlan> {
        let dot_replit = self.dot_replit()?;
        let file = file.filter(|file| !file.is_empty());
        let own = if file.is_none() && language.is_none() { self.own_run(&dot_replit)? } else { None };
        let target = match (file, &own) {
            (Some(file), _) => Some(self.of_file(file, language, &dot_replit)?),
            // What it runs is its own business.
            (None, Some(_)) => None,
            (None, None) => Some(self.of_workspace(language, &dot_replit)?),
        };
        let language = match &target {
            Some(target) => Some(target.language),
            // Where the root cannot be listed it runs, too.
            None => self.likely(&dot_replit, &self.names().unwrap_or_default()).next(),
        };
        let variables = self.variables(&dot_replit, language)?;
        let given = |command: &CommandLine| Step {
            args: command.args.iter().map(OsString::from).collect(),
            env: variables
                .iter()
                .cloned()
                .chain(command.env.iter().map(|(n, v)| (n.into(), v.into())))
                .collect(),
        };
        let entrypoint = target.as_ref().and_then(|target| target.file.clone());
        let shown = entrypoint.as_deref().map(|file| self.as_argument(file));
        let at_root = self.cwd == self.workspace.root();
        let root = if at_root { Path::new(".") } else { self.workspace.root() };
        let values = [
            ("{entrypoint}", shown.as_deref().unwrap_or_default()),
            ("{root}", root.as_os_str()),
            ("{build}", build.as_os_str()),
        ];
        let main = target.as_ref().map_or("", |target| &target.main);
        let made = |args: &[&str]| {
            (!args.is_empty()).then(|| Step {
                args: args.iter().map(|arg| fill(arg, &values, main)).collect(),
                env: variables.clone(),
            })
        };
        let (compile, run) = match (&own, &target) {
            (Some(run), _) => {
                // It belongs to `run`, not to a workflow.
                let compile = dot_replit.compile.as_ref().filter(|_| dot_replit.run.as_ref() == Some(run));
                (compile.map(given), given(run))
            }
            (None, Some(target)) => {
                let run = made(target.run).ok_or_else(|| nothing(&dot_replit, &self.language))?;
                // What is run is what the language's own command makes, where it has one.
                let compile = dot_replit.compile.as_ref().filter(|_| file.is_none());
                (made(target.compile).or_else(|| compile.map(given)), run)
            }
            (None, None) => return Err(nothing(&dot_replit, &self.language)),
        };
        let repl = dot_replit.interpreter.command.as_ref().map(given);
        let known = language.filter(|_| entrypoint.is_some());
        let repl = repl.or_else(|| made(known?.repl));
        let hints = dot_replit.hints.iter().chain(language.into_iter().flat_map(|language| language.hints));
        Ok(RunPlan {
            language,
            compile,
            run,
            repl,
            prompt: dot_replit.interpreter.prompt.clone(),
            hints: hints.cloned().collect(),
            entrypoint,
        })
    }

    /// A file that somebody wants to run.
    fn of_file(
        &self,
        file: &str,
        language: Option<&'static Language>,
        dot_replit: &DotReplit,
    ) -> Result<Target> {
        let file = self.file(Path::new(&from_wire(file)))?;
        let language = language.or_else(|| Language::of_file(&file));
        let language = language.or_else(|| self.declared_language(dot_replit));
        let language = language.ok_or_else(|| {
            let (name, known) = (printable(&to_wire(file.as_os_str())), endings());
            Error::new(format!("{name} is in no language that can be run here: {known}"))
        })?;
        Ok(self.target(language, file))
    }

    /// The workspace's own program, by its language or in `language`.
    fn of_workspace(&self, language: Option<&'static Language>, dot_replit: &DotReplit) -> Result<Target> {
        let declared = language.or_else(|| self.declared_language(dot_replit));
        if let Some(its) = Language::of_file(Path::new(&dot_replit.entrypoint)).or(declared)
            && let Some(file) = self.entrypoint(dot_replit, language)?
        {
            return Ok(self.target(its, file));
        }
        let names = self.names()?;
        let found = self.program(&names, dot_replit, declared);
        match (found, declared) {
            (Some(Detected { language, by, entrypoint }), _) => match entrypoint {
                Some(file) => Ok(Target::of(language, self.file(Path::new(&file))?)),
                None => Ok(Target::whole(language, by, "")),
            },
            (None, Some(language)) => Err(Error::new(format!(
                "no program to run: the language is {}, and there is no {}: make that file, or write \
                 entrypoint = \"…\" or run = \"…\" into {FILE}",
                language.title, language.entrypoint
            ))),
            (None, None) => Err(nothing(dot_replit, &self.language)),
        }
    }

    /// The main file of the workspace's part in `language`, with its whole path: the one that a client names, else the
    /// entrypoint of `.replit` if it is in that, else what the root looks like.
    ///
    /// # Errors
    /// If `.replit` is wrong, the file is not there, not within the workspace or in another language, or there is none.
    pub fn main_file(&self, language: &'static Language, file: Option<&str>) -> Result<PathBuf> {
        let found = match file.filter(|file| !file.is_empty()) {
            Some(file) => {
                let file = self.file(Path::new(&from_wire(file)))?;
                if !is_of(&file, language) {
                    let name = printable(&to_wire(file.as_os_str()));
                    return Err(Error::new(format!("{name} is not in {}", language.title)));
                }
                Some(file)
            }
            None => match self.entrypoint(&self.dot_replit()?, Some(language))? {
                None => {
                    let names = self.names()?;
                    let own =
                        self.all_among(&names, Some(language)).filter(|found| found.language == language);
                    own.filter_map(|found| found.entrypoint).next().map(PathBuf::from)
                }
                own => own,
            },
        };
        let found = found.ok_or_else(|| {
            Error::new(format!(
                "no program to run: there is no {}: make that file, or write entrypoint = \"…\" into {FILE}",
                language.entrypoint
            ))
        })?;
        Ok(self.workspace.root().join(found))
    }

    /// The entrypoint of `.replit`; `None` if it names none, or one that is not in `language`.
    fn entrypoint(
        &self,
        dot_replit: &DotReplit,
        language: Option<&'static Language>,
    ) -> Result<Option<PathBuf>> {
        let named = Path::new(&dot_replit.entrypoint);
        if named.as_os_str().is_empty() || language.is_some_and(|language| !is_of(named, language)) {
            return Ok(None);
        }
        let because = |error| Error::new(format!("{FILE} names an entrypoint that cannot be run: {error}"));
        self.file(named).map(Some).map_err(because)
    }

    /// What runs a file: the program that it belongs to, else the file by itself.
    fn target(&self, language: &'static Language, file: PathBuf) -> Target {
        for by in language.detect {
            if let Some(main) = by.main(&file)
                && self.is_file(by.file)
            {
                return Target::whole(language, by, main);
            }
        }
        Target::of(language, file)
    }

    /// Where a regular file of the workspace is, from the root.
    fn file(&self, path: &Path) -> Result<PathBuf> {
        self.workspace.open_file(path)?;
        // As it is called, if nothing in that needs thought: programs tell of themselves by it.
        let inner = path.strip_prefix(self.workspace.root()).unwrap_or(path);
        let parts = inner.components().filter(|part| *part != Component::CurDir);
        let plain: Option<PathBuf> =
            parts.map(|part| matches!(part, Component::Normal(_)).then_some(part)).collect();
        match plain {
            Some(plain) => Ok(plain),
            None => self.workspace.resolve(path).map_err(|error: FileError| error.into()),
        }
    }

    /// A file of the workspace as a program in the folder where programs start finds it, and takes it for a file.
    fn as_argument(&self, file: &Path) -> OsString {
        if self.cwd != self.workspace.root() {
            return self.workspace.root().join(file).into();
        }
        if file.as_os_str().as_encoded_bytes().starts_with(b"-") {
            return Path::new(".").join(file).into();
        }
        file.into()
    }
}

/// Whether a file may be in this language: its name says nothing else.
fn is_of(file: &Path, language: &Language) -> bool {
    Language::of_file(file).is_none_or(|own| own == language)
}

impl Target {
    fn of(language: &'static Language, file: PathBuf) -> Target {
        let main = String::new();
        Target { language, compile: language.compile, run: language.run, file: Some(file), main }
    }

    fn whole(language: &'static Language, by: &Detect, main: &str) -> Target {
        Target { language, compile: by.compile, run: by.run, file: None, main: main.to_owned() }
    }
}

/// An argument of a language's command: with what it begins with, and what `{main}` in it stands for.
fn fill(arg: &str, values: &[(&str, &OsStr)], main: &str) -> OsString {
    let begins = values.iter().find_map(|(name, value)| Some((*value, arg.strip_prefix(name)?)));
    let (value, rest) = begins.unwrap_or((OsStr::new(""), arg));
    let mut filled = value.to_owned();
    filled.push(rest.replace("{main}", main));
    filled
}

fn nothing(dot_replit: &DotReplit, set: &str) -> Error {
    let unknown = [set, &dot_replit.language].into_iter().find(|name| !name.is_empty());
    let unknown = match unknown.filter(|name| Language::find(name).is_none()) {
        Some(name) => Cow::Owned(format!(" the language {} is not known here.", printable(name))),
        None => Cow::Borrowed(""),
    };
    // A workflow that no button has is no program.
    let workflow = match dot_replit.workflows.all.first() {
        Some(first) => format!(" or runButton = \"{}\" into its [workflows],", printable(&first.name)),
        None => String::new(),
    };
    Error::new(format!(
        "no program to run:{unknown} write run = \"…\" into {FILE},{workflow} or add a file that is known: {}",
        entrypoints()
    ))
}

fn entrypoints() -> String {
    LANGUAGES.iter().map(|language| language.entrypoint).collect::<Vec<_>>().join(", ")
}

fn endings() -> String {
    LANGUAGES.iter().flat_map(|language| language.extensions.iter().copied()).collect::<Vec<_>>().join(", ")
}
