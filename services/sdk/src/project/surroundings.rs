//! What programs of the workspace find around them: the variables of `.replit`, the programs that packages have brought,
//! and what manages those packages.

use std::ffi::OsString;
use std::path::PathBuf;

use super::dot_replit::{self, DotReplit};
use super::language::Language;
use super::{FILE, Project, env};
use crate::error::{Error, Result, printable};
use crate::process::DEFAULT_PATH;

/// What manages the workspace's packages.
#[derive(Clone, Debug)]
pub struct Packaging {
    /// Whose packages; `None` if nothing says.
    pub language: Option<&'static Language>,
    /// What `.replit` says about packages.
    pub section: dot_replit::Packager,
    /// Variables of the package manager, over those that programs have anyway.
    pub env: Vec<(OsString, OsString)>,
}

impl Project<'_> {
    /// What manages the packages of the workspace, or of its part in `language`. That is what `.replit` says of packages or
    /// of the program, else what a client has set, else the likeliest that has packages.
    ///
    /// # Errors
    /// If `.replit` is wrong, or the root cannot be listed.
    pub fn packaging(&self, language: Option<&'static Language>) -> Result<Packaging> {
        let dot_replit = self.dot_replit()?;
        let said = &dot_replit.packager.language;
        let found = language.or_else(|| Language::find(said));
        if found.is_none() && !said.is_empty() {
            let said = printable(said);
            return Err(Error::new(format!(
                "{FILE}: packages of {said}, which [packager] names, are not known here"
            )));
        }
        let language = match found.or_else(|| self.declared_language(&dot_replit)) {
            None => self.likely(&dot_replit, &self.names()?).find(|language| language.packager.is_some()),
            language => language,
        };
        let section = dot_replit.packager.clone();
        let all = DotReplit { env: [&dot_replit.env[..], &section.env].concat(), ..dot_replit };
        Ok(Packaging { language, section, env: self.variables(&all, language)? })
    }

    /// Variables of what runs in `language`: those of `.replit`, and a `PATH` that begins with the folders where that keeps
    /// the workspace's own programs, as far as they are there.
    ///
    /// # Errors
    /// If that is more than a program can be given.
    pub fn variables(
        &self,
        dot_replit: &DotReplit,
        language: Option<&Language>,
    ) -> Result<Vec<(OsString, OsString)>> {
        let mut variables = env::expand(&dot_replit.env, &self.environment)?;
        let known = |name: &str| {
            let all = self.environment.iter().chain(&variables).rev();
            all.into_iter().find(|(key, _)| key == name).map(|(_, value)| value.clone())
        };
        let mut path = OsString::new();
        for folder in language.into_iter().flat_map(|language| language.bin) {
            let folder = match folder.strip_prefix('$').and_then(|folder| folder.split_once('/')) {
                Some((name, inner)) => {
                    known(name).filter(|base| !base.is_empty()).map(|base| PathBuf::from(base).join(inner))
                }
                None => Some(PathBuf::from(folder)),
            };
            let folder = folder.map(|folder| self.workspace.root().join(folder));
            // Only asked for, as whoever searches a program there does.
            if let Some(folder) = folder.filter(|folder| folder.is_dir()) {
                path.push(folder);
                path.push(":");
            }
        }
        if !path.is_empty() {
            path.push(known("PATH").unwrap_or_else(|| DEFAULT_PATH.into()));
            variables.push(("PATH".into(), path));
        }
        Ok(variables)
    }
}
