//! What is known of each language. All of it is in `languages/NAME.toml`; the build makes a table of these files.
//!
//! To add a language, add its file: `title`, `extensions`, `pattern`, `entrypoint`, `detect` and `run` are needed, the other
//! fields of [`Language`] are not. Nothing else in the agent names a language, but the tests here and those of what it can
//! do. For one that is to be evaluated, `[eval]` names the interpreter and a driver beside the file, which speaks the contract
//! in the README of the `eval` service.
//!
//! An argument of a command may begin with `{entrypoint}`, the file that is run, `{root}`, where the workspace is, or
//! `{build}`, a folder outside of it that keeps what was compiled. `{main}` is said at [`Detect::mains`], and `{driver}` at
//! [`Eval`].

use std::borrow::Cow;
use std::path::Path;

/// All languages, by name.
pub static LANGUAGES: &[Language] = include!(concat!(env!("OUT_DIR"), "/languages.rs"));

/// A language: the fields of its file.
#[derive(Debug, PartialEq, Eq)]
pub struct Language {
    /// What it is called in `.replit` and by clients: the name of its file.
    pub name: &'static str,
    /// What people call it.
    pub title: &'static str,
    /// Other names for it, as old clients and files have them.
    pub aliases: &'static [&'static str],
    /// How names of its files end.
    pub extensions: &'static [&'static str],
    /// Which files editors colour by it.
    pub pattern: &'static str,
    /// What its main file is called, if there is none yet.
    pub entrypoint: &'static str,
    /// How a workspace in it is known.
    pub detect: &'static [Detect],
    /// What has to succeed before [`run`](Language::run); empty for nothing.
    pub compile: &'static [&'static str],
    /// Runs the program.
    pub run: &'static [&'static str],
    /// Runs the program and then reads lines of the language; empty if there is no such thing.
    pub repl: &'static [&'static str],
    /// Evaluates source text, piece by piece.
    pub eval: Option<Eval>,
    /// The language that its programs become before they run, if there is one: what evaluates that evaluates in place of
    /// an `eval` of its own, and what brings that into a container brings this.
    pub becomes: &'static str,
    /// Folders at the root, or in a folder that a variable names (`$NAME/bin`), in which a workspace keeps programs of its
    /// own, such as those of its packages: where there are any, its programs are searched there first.
    pub bin: &'static [&'static str],
    /// Where its packages come from.
    pub packager: Option<Packager>,
    /// What to say to what its programs print.
    pub hints: &'static [Hint],
}

/// A file by which a workspace is known. Of all that are there the one with the largest weight counts.
#[derive(Debug, PartialEq, Eq)]
pub struct Detect {
    /// Its name at the root, or its path from there. `*.py` means the file at the root that ends so, if there is only one.
    pub file: &'static str,
    /// From 0 to 100; what says more about the program weighs more.
    pub weight: u8,
    /// Where it is JSON: it counts if there is text at this place in it. Dots go down: `scripts.start`.
    pub has: &'static str,
    /// Where it is JSON: the place in it that names the main file. It counts if that is there.
    pub entrypoint: &'static str,
    /// What may be missing at the end of that name.
    pub endings: &'static [&'static str],
    /// It counts if a line in it begins with one of these texts. Of many files with the ending, it is the only one of which
    /// that is true; one alone need not have it.
    pub holds: &'static [&'static str],
    /// It counts if a file of this name is there, too, or one or more with this ending.
    pub beside: &'static str,
    /// Files, by their paths from the root, that are no programs by themselves where this file is: whoever wants to run one
    /// means what this rule runs. `*` stands for one name or a part of it, and `{main}` for that in the arguments.
    pub mains: &'static [&'static str],
    /// In place of the language's own; only if there is a `run`, too.
    pub compile: &'static [&'static str],
    /// In place of the language's own, for the program as a whole: no file is named. Empty if the file is the program.
    pub run: &'static [&'static str],
}

/// How source text is evaluated.
#[derive(Debug, PartialEq, Eq)]
pub struct Eval {
    /// The interpreter and its arguments; `{driver}` stands for the driver's text.
    pub command: &'static [&'static str],
    /// What makes the interpreter speak the contract of the `eval` service.
    pub driver: &'static str,
    /// Evaluates the file for which `{entrypoint}` stands: a string, in double quotes, with JSON's escapes.
    pub main: &'static str,
    /// What to install where the interpreter is missing.
    pub package: &'static str,
}

/// A package manager.
#[derive(Debug, PartialEq, Eq)]
pub struct Packager {
    /// What it is called.
    pub name: &'static str,
    /// Where it keeps which packages there are, the usual one first.
    pub files: &'static [&'static str],
}

/// Advice on what a program prints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hint {
    /// What to look for, in each line.
    pub regex: Cow<'static, str>,
    /// What to say; `$1` and so on stand for what was captured.
    pub message: Cow<'static, str>,
}

impl Language {
    /// The language that is called `name`, in capitals or not, or has it as another name. Versions behind it count for
    /// nothing: `python-3.11`.
    pub fn find(name: &str) -> Option<&'static Language> {
        let find = |name: &str| {
            let is = |other: &&str| other.eq_ignore_ascii_case(name);
            LANGUAGES.iter().find(|language| is(&language.name) || language.aliases.iter().any(is))
        };
        let name = name.trim();
        find(name)
            .or_else(|| find(name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.' || c == '-')))
    }

    /// The language of a file, by the ending of its name.
    pub fn of_file(path: &Path) -> Option<&'static Language> {
        let name = path.file_name()?.as_encoded_bytes();
        let ends = |ending: &&str| name.len() > ending.len() && name.ends_with(ending.as_bytes());
        LANGUAGES.iter().find(|language| language.extensions.iter().any(ends))
    }

    /// Where its packages may be written down.
    pub(super) fn specfiles(&self) -> impl Iterator<Item = &'static str> {
        self.packager.iter().flat_map(|packager| packager.files.iter().copied())
    }

    /// Whether what brings one of `languages` into a container brings this one.
    pub(super) fn comes_with(&self, languages: &[&Language]) -> bool {
        languages.iter().any(|brought| [self.name, self.becomes].contains(&brought.name))
    }
}

impl Detect {
    /// What `{main}` stands for if `file` is one of the rule's `mains`.
    pub(super) fn main<'a>(&self, file: &'a Path) -> Option<&'a str> {
        let file = file.to_str()?;
        self.mains.iter().find_map(|main| match main.split_once('*') {
            Some((before, behind)) => {
                file.strip_prefix(before)?.strip_suffix(behind).filter(|name| !name.contains('/'))
            }
            None => (*main == file).then_some(""),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_language_is_found_by_each_of_its_names_and_no_name_is_given_twice() {
        let mut names = HashSet::new();
        for language in LANGUAGES {
            for name in language.aliases.iter().chain([&language.name]) {
                assert!(names.insert(*name), "{name} is two languages");
                assert_eq!(Language::find(&name.to_uppercase()), Some(language));
            }
            for ending in language.extensions {
                assert!(names.insert(*ending), "{ending} is two languages");
                let file = format!("folder/x{ending}");
                assert_eq!(Language::of_file(Path::new(&file)), Some(language));
            }
            assert_eq!(Language::of_file(Path::new(language.entrypoint)), Some(language));
        }
        assert_eq!(Language::find("python-3.11").map(|language| language.name), Some("python"));
        for none in ["", "-", "3", "perl"] {
            assert_eq!(Language::find(none), None, "{none:?}");
        }
        for none in ["", ".py", "x", "x.py/", "x.pyc"] {
            let language = Language::of_file(Path::new(none)).map(|language| language.name);
            assert_eq!(language, (none == "x.py/").then_some("python"), "{none:?}");
        }
    }

    #[test]
    fn weights_decide_between_any_two_files() {
        let all = || LANGUAGES.iter().flat_map(|language| language.detect);
        let weights: HashSet<u8> = all().map(|detect| detect.weight).collect();
        assert_eq!(weights.len(), all().count(), "two weigh the same");
        let whole = |detect: &Detect| detect.compile.is_empty() && detect.mains.is_empty();
        assert!(all().all(|detect| whole(detect) || !detect.run.is_empty()));
        for language in LANGUAGES.iter().filter(|language| !language.becomes.is_empty()) {
            assert!(Language::find(language.becomes).is_some_and(|other| other.name == language.becomes));
        }
    }

    #[test]
    fn hints_say_what_helps() {
        let said = |language: &str, output: &str| {
            let hints = Language::find(language).unwrap().hints.iter();
            let mut found = hints.filter_map(|hint| {
                let regex = regex::Regex::new(&hint.regex).unwrap();
                let captures = regex.captures(output)?;
                let mut text = String::new();
                captures.expand(&hint.message, &mut text);
                Some(text)
            });
            found.next().unwrap_or_default()
        };
        for (language, output, expected) in [
            ("python", "ModuleNotFoundError: No module named 'flask.app'\n", "pip install flask`"),
            ("python", "sh: 1: python3: not found", "no Python"),
            ("python", "bash: line 1: python: command not found", "write python3"),
            ("python", "exec: \"python\": executable file not found in $PATH", "write python3"),
            ("python", "sh: 1: ipython: not found", ""),
            ("javascript", "Error: Cannot find module 'express'", "npm install express`"),
            ("javascript", "Error: Cannot find module './x'", "no file ./x"),
            ("javascript", "exec: \"npm\": executable file not found in $PATH", "no Node.js"),
            ("typescript", "Cannot find package 'zod' imported from /x", "npm install zod`"),
            ("rust", "available binaries: a, b\r\n", "cargo run --bin a\""),
            ("c", "sh: 1: make: not found", "no make"),
            ("rust", "error[E0432]: unresolved import `rand`", "cargo add rand`"),
            ("c", "sh: 1: cc: not found", "no C compiler"),
            ("c", "main.c:1:10: fatal error: foo.h: No such file or directory", "header foo.h"),
            ("cpp", "exec: \"c++\": executable file not found in $PATH", "no C++ compiler"),
            ("go", "main.go:3:8: no required module provides package x.y/z; to add it:", "go get x.y/z`"),
            ("bash", "main.sh: line 2: jq: command not found", "\"jq\""),
            ("python", "hello", ""),
        ] {
            let text = said(language, output);
            assert!(text.contains(expected) && text.is_empty() == expected.is_empty(), "{output}: {text:?}");
        }
        for hint in LANGUAGES.iter().flat_map(|language| language.hints) {
            regex::Regex::new(&hint.regex).unwrap();
        }
    }
}
