//! Which interpreter a workspace gets, and what starts it: the languages of `sdk::project` that have a driver.

use std::ffi::OsString;

use pid1_sdk::engine::Engine;
use pid1_sdk::project::{Eval, LANGUAGES, Language};
use pid1_sdk::{Error, Result};

/// Stands for the driver's text in a command.
const DRIVER: &str = "{driver}";

/// Stands for the file in what evaluates a workspace's main file.
const ENTRYPOINT: &str = "{entrypoint}";

/// For workspaces that say nothing.
const USUAL: &str = "python";

/// What the next interpreter is.
#[derive(Debug)]
pub(crate) struct Chosen {
    pub(crate) language: Evaluated,
    /// Its variables, as those of any program that Run starts.
    pub(crate) env: Vec<(OsString, OsString)>,
}

impl Chosen {
    /// By the workspace. Waits for the disk.
    ///
    /// # Errors
    /// If the settings name a language that cannot be evaluated, or the variables are too much.
    pub(crate) fn of_workspace(engine: &Engine) -> Result<Chosen> {
        let language = Evaluated::of_workspace(engine)?;
        let project = engine.project();
        // What is wrong with `.replit` is told by whoever runs it.
        let file = project.dot_replit().unwrap_or_default();
        Ok(Chosen { env: project.variables(&file, Some(language.language))?, language })
    }
}

/// A language that is evaluated, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Evaluated {
    pub(crate) language: &'static Language,
    pub(crate) eval: &'static Eval,
}

impl Evaluated {
    /// What evaluates `language`: itself, or what its programs become.
    fn of(language: &'static Language) -> Option<Evaluated> {
        let own = Some(language).filter(|language| language.eval.is_some());
        let language = own.or_else(|| Language::find(language.becomes))?;
        Some(Evaluated { language, eval: language.eval.as_ref()? })
    }

    /// What the settings name, else the first of the workspace's own languages that can be evaluated. Waits for the disk.
    ///
    /// # Errors
    /// If the settings name one that cannot be.
    fn of_workspace(engine: &Engine) -> Result<Evaluated> {
        let wanted = engine.settings().language;
        if !wanted.is_empty() {
            return Language::find(&wanted).and_then(Evaluated::of).ok_or_else(|| {
                let all = LANGUAGES.iter().filter(|language| language.eval.is_some());
                let all: Vec<&str> = all.map(|language| language.name).collect();
                Error::new(format!(
                    "eval: there is nothing that evaluates {wanted:?}, only {}",
                    all.join(" and ")
                ))
            });
        }
        // What is wrong with `.replit` is told by whoever runs it.
        let own = engine.project().languages().unwrap_or_default();
        let found = own.into_iter().find_map(Evaluated::of);
        let usual = || Language::find(USUAL).and_then(Evaluated::of);
        found.or_else(usual).ok_or_else(|| Error::new("eval: this agent was built without any driver"))
    }

    /// What evaluates the workspace's main file, or that file. Waits for the disk.
    ///
    /// # Errors
    /// If there is none in the language, or it has a name that no source can hold.
    pub(crate) fn main(&self, engine: &Engine, file: &str) -> Result<String> {
        let found = engine.project().main_file(self.language, Some(file));
        let found = found.map_err(|error| Error::new(format!("eval: {error}")))?;
        let name = found.to_str().ok_or_else(|| {
            Error::new(format!("eval: cannot name {} in a source: it is not UTF-8", found.display()))
        })?;
        Ok(self.eval.main.replace(ENTRYPOINT, &serde_json::Value::from(name).to_string()))
    }

    /// What to run.
    pub(crate) fn args(&self) -> impl Iterator<Item = &'static str> {
        let driver = self.eval.driver;
        self.eval.command.iter().map(move |arg| if *arg == DRIVER { driver } else { arg })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_becomes_another_language_is_evaluated_as_that() {
        let evaluated = |name| Evaluated::of(Language::find(name)?).map(|found| found.language.name);
        assert_eq!(evaluated("typescript"), Some("javascript"));
        assert_eq!(evaluated("python"), Some("python"));
        assert_eq!(evaluated("rust"), None);
    }

    /// The kernel takes no argument above 128 KiB.
    #[test]
    fn a_driver_is_short_enough_for_an_argument() {
        let all: Vec<Evaluated> = LANGUAGES.iter().filter_map(Evaluated::of).collect();
        assert!(all.len() >= 2);
        for arg in all.iter().flat_map(Evaluated::args) {
            assert!(arg.len() < 64 << 10 && !arg.contains('\0'));
        }
    }
}
