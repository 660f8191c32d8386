//! Which language a workspace is in, and which of its files is the program: by what lies at its root.

use std::collections::BTreeMap;
use std::path::Path;

use super::dot_replit::DotReplit;
use super::language::{Detect, LANGUAGES, Language};
use super::{FILE, Project};
use crate::error::Result;
use crate::limits;
use crate::watch::{Change, What};
use crate::workspace::Kind;

/// What a workspace was known by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Detected {
    /// Its language.
    pub language: &'static Language,
    /// The rule that found it.
    pub by: &'static Detect,
    /// The main file, from the root; `None` if the program is run as a whole.
    pub entrypoint: Option<String>,
}

/// Whether `change`, which is relative to the root, can change what a plan says: a file came or went by which workspaces
/// or their packages are known, or one was written that is looked into.
pub fn matters(change: &Change) -> bool {
    let of = |path: &Path, written: bool| {
        let Some(name) = path.to_str() else { return false };
        let by_rule = |rule: &Detect| match rule.file.strip_prefix('*') {
            Some(ending) => name.ends_with(ending) && (!written || is_read(rule)),
            None => name == rule.file && (!written || is_read(rule)),
        };
        let known = |language: &Language| {
            language.detect.iter().any(by_rule) || !written && language.specfiles().any(|file| file == name)
        };
        name == FILE || LANGUAGES.iter().any(known)
    };
    match &change.what {
        What::Modify => of(&change.path, true),
        What::Move(to) => of(&change.path, false) || of(to, false),
        What::Create | What::Remove => of(&change.path, false),
    }
}

/// Whether more is looked at than that a file is there.
fn is_read(rule: &Detect) -> bool {
    !rule.has.is_empty() || !rule.entrypoint.is_empty() || !rule.holds.is_empty()
}

/// The names of the files at the root, as far as they are looked at.
#[derive(Debug, Default)]
pub(super) struct Names(BTreeMap<String, Kind>);

impl Project<'_> {
    /// What the workspace looks like; only as one in `language` if that is given. `None` if it looks like nothing.
    ///
    /// # Errors
    /// If the root cannot be listed.
    pub fn detect(&self, language: Option<&'static Language>) -> Result<Option<Detected>> {
        Ok(self.all_among(&self.names()?, language).next())
    }

    /// The languages that the workspace is in: that of its program, then all others of which it has a file.
    ///
    /// # Errors
    /// If `.replit` is wrong, or the root cannot be listed.
    pub fn languages(&self) -> Result<Vec<&'static Language>> {
        let names = self.names()?;
        let main = self.likely(&self.dot_replit()?, &names).next();
        let of_files = names.0.keys().filter_map(|name| Language::of_file(Path::new(name)));
        let there: Vec<_> = of_files.collect();
        let others = LANGUAGES.iter().filter(|one| Some(*one) != main && there.contains(one));
        Ok(main.into_iter().chain(others).collect())
    }

    /// The languages that the program may be in, what says most first: that of the entrypoint of `.replit`; the declared one;
    /// what the root looks like, if `modules` of `.replit` bring that, too; those of its `modules`, if a command of `.replit` is
    /// what runs, and else behind it what the root looks like at all; and those of which there is a specfile.
    pub(super) fn likely(
        &self,
        dot_replit: &DotReplit,
        names: &Names,
    ) -> impl Iterator<Item = &'static Language> {
        let said = Language::of_file(Path::new(&dot_replit.entrypoint));
        let said = said.or_else(|| self.declared_language(dot_replit));
        let modules = dot_replit.module_languages();
        let program = self.program(names, dot_replit, None).map(|found| found.language);
        let brought = program.filter(|language| language.comes_with(&modules));
        let specified =
            LANGUAGES.iter().filter(|language| language.specfiles().any(|file| self.is_file(file)));
        let (mut first, mut then) = (modules, Vec::from_iter(program));
        if matches!(self.own_run(dot_replit), Ok(None)) {
            std::mem::swap(&mut first, &mut then);
        }
        said.into_iter().chain(brought).chain(first).chain(then).chain(specified)
    }

    /// What lies at the root. Of more than [`limits::PROJECT_ENTRIES`] entries some are not looked at. Names that are no
    /// text are none that a rule could have.
    pub(super) fn names(&self) -> Result<Names> {
        let mut names = BTreeMap::new();
        for entry in self.workspace.list(Path::new("."))?.take(limits::PROJECT_ENTRIES) {
            let entry = entry?;
            if matches!(entry.kind, Kind::File | Kind::Link)
                && let Ok(name) = entry.name.into_string()
            {
                names.insert(name, entry.kind);
            }
        }
        Ok(Names(names))
    }

    /// What the workspace looks like; only as one in `language` if that is given, else rather as one in a language of the
    /// `modules` of `.replit`.
    pub(super) fn program(
        &self,
        names: &Names,
        dot_replit: &DotReplit,
        language: Option<&'static Language>,
    ) -> Option<Detected> {
        let modules = dot_replit.module_languages();
        let fits = |found: &Detected| modules.is_empty() || found.language.comes_with(&modules);
        let found = self.all_among(names, language).find(fits);
        found.or_else(|| self.all_among(names, language).next())
    }

    /// All that the workspace looks like, what weighs most first.
    pub(super) fn all_among(
        &self,
        names: &Names,
        language: Option<&'static Language>,
    ) -> impl Iterator<Item = Detected> {
        let languages = LANGUAGES.iter().filter(|one| language.is_none_or(|wanted| wanted == *one));
        let mut rules: Vec<_> =
            languages.flat_map(|language| language.detect.iter().map(move |by| (language, by))).collect();
        rules.sort_by_key(|(_, by)| std::cmp::Reverse(by.weight));
        rules.into_iter().filter_map(|(language, by)| {
            let file = self.found(names, by)?;
            let entrypoint = if !by.has.is_empty() {
                self.text_in(file, by.has)?;
                None
            } else if !by.entrypoint.is_empty() {
                let named = self.text_in(file, by.entrypoint)?;
                let mut all = [""].iter().chain(by.endings).map(|ending| format!("{named}{ending}"));
                Some(all.find(|file| self.is_file(file))?)
            } else if !by.run.is_empty() {
                None
            } else {
                Some(file.to_owned())
            };
            // A manifest may name a file of another language.
            let own = entrypoint.as_deref().and_then(|file| Language::of_file(Path::new(file)));
            Some(Detected { language: own.unwrap_or(language), by, entrypoint })
        })
    }

    /// The file that a rule is about, if it counts.
    fn found<'a>(&self, names: &'a Names, by: &'a Detect) -> Option<&'a str> {
        if !by.beside.is_empty() && !names.has(by.beside) {
            return None;
        }
        let holds = |file: &&str| by.holds.is_empty() || self.holds(file, by.holds);
        let Some(ending) = by.file.strip_prefix('*') else {
            let there = match by.file.contains('/') {
                true => self.is_file(by.file),
                false => names.has(by.file),
            };
            return Some(by.file).filter(|_| there).filter(holds);
        };
        let all: Vec<_> = names.ending(ending).take(limits::PROJECT_SOURCES).collect();
        match all[..] {
            [file] => Some(file),
            _ if by.holds.is_empty() => None,
            _ => {
                let mut programs = all.into_iter().filter(holds);
                programs.next().filter(|_| programs.next().is_none())
            }
        }
    }

    /// Whether a line of a file begins with one of these texts.
    fn holds(&self, file: &str, texts: &[&str]) -> bool {
        let Ok(content) = self.workspace.read(Path::new(file), limits::PROJECT_MANIFEST_BYTES) else {
            return false;
        };
        let begins = |line: &[u8]| texts.iter().any(|text| line.starts_with(text.as_bytes()));
        content.split(|byte| *byte == b'\n').any(begins)
    }

    /// The text at a place of a small JSON file.
    fn text_in(&self, file: &str, place: &str) -> Option<String> {
        let content = self.workspace.read(Path::new(file), limits::PROJECT_MANIFEST_BYTES).ok()?;
        let json: serde_json::Value = serde_json::from_slice(&content).ok()?;
        let found = place.split('.').try_fold(&json, |json, key| json.get(key))?;
        found.as_str().filter(|text| !text.trim().is_empty()).map(str::to_owned)
    }

    /// Whether there is a regular file of the workspace, links followed.
    pub(super) fn is_file(&self, path: &str) -> bool {
        self.workspace.open_file(Path::new(path)).is_ok()
    }
}

impl Names {
    /// Whether there is the file with this name, or one with this ending.
    fn has(&self, pattern: &str) -> bool {
        match pattern.strip_prefix('*') {
            Some(ending) => self.ending(ending).next().is_some(),
            None => self.0.contains_key(pattern),
        }
    }

    fn ending(&self, ending: &str) -> impl Iterator<Item = &str> {
        let names = self.0.keys().map(String::as_str);
        names.filter(move |name| name.len() > ending.len() && name.ends_with(ending))
    }
}
