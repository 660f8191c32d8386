//! What the workspace's program is and how it is run: `.replit`, the languages, and from both a plan.
//!
//! - [`DotReplit`] is the file `.replit` at the root. One that is not there says nothing; one that is wrong is an error
//!   that names the line and what may stand there.
//! - [`LANGUAGES`] is what is known of each language: one file in `languages/` for each, and nothing elsewhere.
//! - [`RunPlan`] is what Run does: what the file says, else what the language does with the file that looks like the
//!   program's.
//!
//! What it deliberately does not do: start anything, or look at more than `.replit`, the root's own entries and the
//! manifests among them. What a plan says may not work is found out by running it.
//!
//! All methods of [`Project`] may wait for the disk: call them through
//! [`Runtimes::file_work`](crate::runtimes::Runtimes::file_work).

mod command;
mod detect;
mod dot_replit;
mod edit;
mod env;
mod language;
pub mod list;
mod message;
mod plan;
mod surroundings;
#[cfg(test)]
mod tests;
mod update;
mod workflow;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

pub use command::CommandLine;
pub use detect::{Detected, matters};
pub use dot_replit::{
    DotReplit, Interpreter, LanguageSection, LanguageServer, Packager as PackagerSection, Port,
};
pub use language::{Detect, Eval, Hint, LANGUAGES, Language, Packager};
pub use plan::{RunPlan, Step};
pub use surroundings::Packaging;
pub use workflow::{Task, Workflow, Workflows};

use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::limits;
use crate::workspace::Workspace;

/// The file at the root that says how the program is run.
pub const FILE: &str = ".replit";

/// The workspace's program, seen with the settings in force when it was asked for.
#[derive(Debug)]
pub struct Project<'a> {
    workspace: &'a Workspace,
    /// The main language as a client has set it; empty if none has.
    language: String,
    /// Where programs start.
    cwd: PathBuf,
    /// What runs the lines of workflows: the shell that people get.
    shell: String,
    /// Variables that those of `.replit` may refer to, the last of two equal ones counts.
    environment: Vec<(OsString, OsString)>,
}

impl Engine {
    /// The workspace's program, and how it is run.
    pub fn project(&self) -> Project<'_> {
        let settings = self.settings();
        // Published files name the workspace so; what programs themselves have of that name counts.
        let mut environment = vec![("REPL_HOME".into(), self.root().as_os_str().to_owned())];
        environment.extend_from_slice(self.environment());
        environment.extend(settings.env);
        Project {
            workspace: self.workspace(),
            language: settings.language,
            cwd: settings.cwd.unwrap_or_else(|| self.root().to_owned()),
            environment,
            shell: self.shell().map_or_else(|_| "sh".into(), |shell| shell.to_string_lossy().into_owned()),
        }
    }
}

impl Project<'_> {
    /// What `.replit` says; nothing if it is not there.
    ///
    /// # Errors
    /// If it cannot be read, is too large, or is not what it should be.
    pub fn dot_replit(&self) -> Result<DotReplit> {
        match self.workspace.read(Path::new(FILE), limits::DOT_REPLIT_BYTES) {
            Ok(content) => DotReplit::parse(&utf8(content)?),
            Err(error) if error.is_not_found() => Ok(DotReplit::default()),
            Err(error) => Err(error.into()),
        }
    }

    /// What `.replit` says that Run does: the workflow that it names, else `run`.
    ///
    /// # Errors
    /// If that workflow cannot be run.
    pub fn own_run(&self, dot_replit: &DotReplit) -> Result<Option<CommandLine>> {
        let workflow = dot_replit.workflows.command(&self.shell)?;
        Ok(workflow.or_else(|| dot_replit.run.clone()))
    }

    /// The main language: as a client has set it, else as `.replit` says it. `None` if neither does, or it is none that is
    /// known.
    pub(self) fn declared_language(&self, dot_replit: &DotReplit) -> Option<&'static Language> {
        Language::find(&self.language).or_else(|| Language::find(&dot_replit.language))
    }
}

/// The text of `.replit`.
fn utf8(content: Vec<u8>) -> Result<String> {
    String::from_utf8(content).map_err(|error| {
        let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = valid.iter().filter(|byte| **byte == b'\n').count() + 1;
        Error::new(format!("{FILE}, line {line}: it is not UTF-8: write it anew as that"))
    })
}
