//! `ensurePackages`: which packages the sources import and the specfile does not name, found by the language's own parser,
//! which runs as a program of the workspace.
//!
//! The programs and the tables of names are in `imports/`. What the programs are given and answer is said in the README.

use std::collections::{BTreeSet, HashMap};

use pid1_sdk::api::File;
use pid1_sdk::error::printable;
use pid1_sdk::{Error, Result, limits};
use serde::Deserialize;
use serde_json::json;

use crate::change;
use crate::ecosystem::package;
use crate::request::{Managed, checked};
use crate::tools::Tools;

/// How imports of a language are found.
pub(crate) struct Finder {
    /// The interpreter, and what comes before the program's text.
    pub(crate) command: &'static [&'static str],
    /// The program.
    pub(crate) text: &'static str,
    /// Which packages have modules of another name: `[packages]` of a TOML file. Empty for what is no package at all; a list
    /// if others than the first, which is meant, have the module, too.
    pub(crate) names: &'static str,
    /// Modules have dots, and what stands before one may be the package.
    pub(crate) dotted: bool,
}

/// What the program answers.
#[derive(Deserialize)]
struct Found {
    imports: Vec<String>,
    unread: Vec<Unread>,
}

#[derive(Deserialize)]
struct Unread {
    path: String,
    why: String,
}

#[derive(Deserialize)]
struct Names {
    packages: HashMap<String, Packages>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Packages {
    One(String),
    Any(Vec<String>),
}

/// Names the packages that are missing, and with `install` installs them and all others.
pub(crate) async fn ensure(managed: &Managed, file: Option<File>, install: bool) -> Result<()> {
    let Managed { tools, .. } = managed;
    let ecosystem = tools.ecosystem;
    let Some(finder) = ecosystem.imports() else {
        return Err(Error::new(
            "packager: what sources import is found in Python and JavaScript only: use packageAdd",
        ));
    };
    let found = find(managed, finder, file).await?;
    for Unread { path, why } in found.unread {
        tools.print(printable(&format!("{path} was not read: {why}")) + "\n").await;
    }
    let listed = tools.look(move |workspace| ecosystem.list(workspace)).await?;
    let mut known: BTreeSet<_> = listed.iter().map(|package| ecosystem.plain_name(&package.name)).collect();
    known.extend(managed.ignored_packages.iter().map(|name| ecosystem.plain_name(name)));
    let mut missing = Vec::new();
    for names in packages_of(finder, &found.imports)? {
        // Of those that have the module one is enough.
        if !names.iter().any(|name| known.contains(&ecosystem.plain_name(name))) {
            known.insert(ecosystem.plain_name(&names[0]));
            missing.push(package(&*names[0], ""));
        }
    }
    if !install {
        let list: Vec<_> = missing.iter().map(|one| json!({ "name": one.name, "version": "*" })).collect();
        tools.print(format!("{}\n", json!(list))).await;
        return Ok(());
    }
    if missing.is_empty() && listed.is_empty() {
        return Ok(());
    }
    let missing = if missing.is_empty() { missing } else { checked(ecosystem, missing)? };
    change::ensure(managed, &missing).await
}

async fn find(managed: &Managed, finder: &Finder, file: Option<File>) -> Result<Found> {
    let tools: &Tools = &managed.tools;
    let file = file.map(|File { path, content, .. }| {
        let content = (!content.is_empty()).then(|| String::from_utf8(content.to_vec()));
        match content.transpose() {
            Ok(content) => Ok(json!({ "path": path, "content": content })),
            Err(_) => Err(Error::new("packager: the file's content is not UTF-8")),
        }
    });
    let order = json!({
        "root": tools.engine.root().to_str(),
        "file": file.transpose()?,
        "ignored": managed.ignored_paths,
        "most_files": limits::PACKAGE_SOURCES,
        "most_bytes": limits::PACKAGE_SOURCE_BYTES,
    });
    let args = finder.command.iter().copied().chain([finder.text]);
    let asked = tools.ask(args, &[], order.to_string().into_bytes()).await?;
    match serde_json::from_slice(&asked.stdout) {
        Ok(found) if asked.exit.success() => Ok(found),
        _ => {
            let why = asked.stderr.lines().last().unwrap_or_default();
            let how = asked.exit.text();
            Err(Error::new(format!(
                "packager: cannot tell what is imported: {}",
                printable(&format!("{how}: {why}"))
            )))
        }
    }
}

/// The packages of these modules: of each the one that is meant, and others in whose place it would be.
fn packages_of(finder: &Finder, modules: &[String]) -> Result<BTreeSet<Vec<String>>> {
    let Names { packages } = toml::from_str(finder.names).map_err(|error| Error::new(error.to_string()))?;
    let of = |module: &String| {
        let mut prefix = module.as_str();
        loop {
            if let Some(packages) = packages.get(prefix) {
                return match packages {
                    Packages::One(name) if name.is_empty() => None,
                    Packages::One(name) => Some(vec![name.clone()]),
                    Packages::Any(names) => Some(names.clone()),
                };
            }
            match prefix.rsplit_once('.').filter(|_| finder.dotted) {
                Some((shorter, _)) => prefix = shorter,
                None => return Some(vec![prefix.to_owned()]),
            }
        }
    };
    Ok(modules.iter().filter_map(of).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ecosystem;

    fn packages(ecosystem: &str, modules: &[&str]) -> Vec<String> {
        let finder = ecosystem::find(ecosystem).unwrap().imports().unwrap();
        let modules: Vec<_> = modules.iter().map(|module| (*module).to_owned()).collect();
        packages_of(finder, &modules).unwrap().into_iter().map(|names| names[0].clone()).collect()
    }

    #[test]
    fn a_module_is_its_package() {
        let modules =
            ["yaml", "google.cloud.storage", "google", "numpy.linalg", "PIL.Image", "urllib2", "requests"];
        assert_eq!(
            packages("pip", &modules),
            ["Pillow", "PyYAML", "google-cloud-storage", "numpy", "requests"]
        );
        let modules = ["socket.io", "@types/node", "vscode", "lodash"];
        assert_eq!(packages("npm", &modules), ["@types/node", "@types/vscode", "lodash", "socket.io"]);
    }

    #[test]
    fn others_that_have_the_module_are_known() {
        let finder = ecosystem::find("pip").unwrap().imports().unwrap();
        let found = packages_of(finder, &["psycopg2.extras".to_owned(), "yaml".to_owned()]).unwrap();
        let found: Vec<_> = found.into_iter().map(|names| names.join(" ")).collect();
        assert_eq!(found, ["PyYAML", "psycopg2-binary psycopg2"]);
        let found = packages_of(finder, &["cv2".to_owned()]).unwrap();
        assert!(found.iter().flatten().any(|name| name == "opencv-python-headless"));
    }

    #[test]
    fn every_name_in_a_table_is_that_of_a_package() {
        for name in ["pip", "npm"] {
            let ecosystem = ecosystem::find(name).unwrap();
            let Names { packages } = toml::from_str(ecosystem.imports().unwrap().names).unwrap();
            let names = packages.into_values().flat_map(|packages| match packages {
                Packages::One(name) => vec![name],
                Packages::Any(names) => {
                    assert!(!names.is_empty(), "one is meant");
                    names
                }
            });
            for name in names.filter(|name| !name.is_empty()) {
                assert_eq!(ecosystem.check(&package(name.as_str(), "")), Ok(()), "{name}");
            }
        }
    }
}
