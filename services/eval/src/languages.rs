//! Which interpreters there are: how each is started, and the driver that makes it speak the contract.
//!
//! What it deliberately does not do: find out which language a workspace is in.

/// Stands for the driver's text in a command.
const DRIVER: &str = "{driver}";

/// One interpreter.
#[derive(Debug)]
pub struct Language {
    /// What clients and settings call it; the first is what people read.
    pub names: &'static [&'static str],
    /// The program and its arguments.
    command: &'static [&'static str],
    driver: &'static str,
    /// Evaluates the workspace's main file.
    pub main: &'static str,
    /// What to install where its program is missing.
    pub package: &'static str,
}

/// The first is for workspaces that say nothing.
const LANGUAGES: &[Language] = &[
    Language {
        names: &["python", "python3", "py"],
        command: &["python3", "-u", "-c", DRIVER],
        driver: include_str!("../../sdk/src/project/languages/python.eval.py"),
        main: "exec(compile(open('main.py', 'rb').read(), 'main.py', 'exec'))",
        package: "python3",
    },
    Language {
        names: &["javascript", "nodejs", "node", "js"],
        command: &["node", "-e", DRIVER],
        driver: include_str!("../../sdk/src/project/languages/javascript.eval.js"),
        main: "require('vm').runInThisContext(require('fs').readFileSync('index.js', 'utf8'), 'index.js'); undefined",
        package: "nodejs",
    },
];

impl Language {
    /// The one called `name`, in small letters or not; the first if `name` is empty. What there is, if there is no such one.
    pub fn find(name: &str) -> Result<&'static Language, String> {
        if name.is_empty() {
            return Ok(&LANGUAGES[0]);
        }
        let called = |language: &&Language| language.names.iter().any(|one| one.eq_ignore_ascii_case(name));
        LANGUAGES.iter().find(called).ok_or_else(|| {
            let all: Vec<&str> = LANGUAGES.iter().map(|language| language.names[0]).collect();
            all.join(" and ")
        })
    }

    /// What to run.
    pub fn args(&self) -> impl Iterator<Item = &'static str> {
        self.command.iter().map(|arg| if *arg == DRIVER { self.driver } else { arg })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_language_is_found_by_any_of_its_names() {
        assert_eq!(Language::find("").unwrap().names[0], "python");
        assert_eq!(Language::find("NodeJS").unwrap().names[0], "javascript");
        assert_eq!(Language::find("cobol").unwrap_err(), "python and javascript");
    }

    /// The kernel takes no argument above 128 KiB.
    #[test]
    fn a_driver_is_short_enough_for_an_argument() {
        for arg in LANGUAGES.iter().flat_map(Language::args) {
            assert!(arg.len() < 64 << 10 && !arg.contains('\0'));
        }
    }
}
