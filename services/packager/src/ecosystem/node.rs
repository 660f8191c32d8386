//! Node: package.json, and npm, pnpm, yarn or bun, whichever the project's lock file is of.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

use pid1_sdk::api::Package;
use pid1_sdk::workspace::Workspace;
use pid1_sdk::{Error, Result};
use serde_json::{Map, Value};

use super::{Ecosystem, Work, package, wanted};
use crate::imports::Finder;
use crate::tools::{Tools, text};

/// The specfile.
const MANIFEST: &str = "package.json";

/// Where it has dependencies.
const SECTIONS: [&str; 4] = ["dependencies", "devDependencies", "optionalDependencies", "peerDependencies"];

/// Longest name that the registry takes.
const NAME_BYTES: usize = 214;

/// A package manager: what it is called, its lock files, and how it is told to add, remove and install.
struct Manager {
    name: &'static str,
    locks: &'static [&'static str],
    add: &'static [&'static str],
    remove: &'static [&'static str],
}

/// The first is that of a project that says nothing.
const MANAGERS: [Manager; 4] = [
    Manager {
        name: "npm",
        locks: &["package-lock.json", "npm-shrinkwrap.json"],
        add: &["install"],
        remove: &["uninstall"],
    },
    Manager { name: "pnpm", locks: &["pnpm-lock.yaml"], add: &["add"], remove: &["remove"] },
    Manager { name: "yarn", locks: &["yarn.lock"], add: &["add"], remove: &["remove"] },
    Manager { name: "bun", locks: &["bun.lock", "bun.lockb"], add: &["add"], remove: &["remove"] },
];

static IMPORTS: Finder = Finder {
    command: &["node", "--expose-internals", "-e"],
    text: include_str!("../imports/node.cjs"),
    names: include_str!("../imports/node.toml"),
    dotted: false,
};

pub(super) struct Node;

impl Ecosystem for Node {
    fn specfiles(&self) -> &'static [&'static str] {
        // pnpm keeps in the other which packages may run scripts.
        &[MANIFEST, "pnpm-workspace.yaml"]
    }

    fn locks(&self) -> &'static [&'static str] {
        &[
            "package-lock.json",
            "npm-shrinkwrap.json",
            "pnpm-lock.yaml",
            "yarn.lock",
            ".pnp.cjs",
            "bun.lock",
            "bun.lockb",
        ]
    }

    fn env(&self) -> &'static [(&'static str, &'static str)] {
        &[
            ("NPM_CONFIG_AUDIT", "false"),
            ("NPM_CONFIG_FUND", "false"),
            ("NPM_CONFIG_UPDATE_NOTIFIER", "false"),
            ("NPM_CONFIG_PROGRESS", "false"),
            ("COREPACK_ENABLE_DOWNLOAD_PROMPT", "0"),
        ]
    }

    fn advice(&self, program: &str) -> &'static str {
        match program {
            "pnpm" => "the project's lock file is pnpm's: install it with npm install -g pnpm",
            "yarn" => "the project's lock file is yarn's: install it with npm install -g yarn",
            "bun" => "the project's lock file is bun's: install it with npm install -g bun",
            _ => {
                "npm comes with Node.js: put the packages nodejs and npm into the image, or those of nodejs.org"
            }
        }
    }

    fn imports(&self) -> Option<&'static Finder> {
        Some(&IMPORTS)
    }

    fn plain_name(&self, name: &str) -> String {
        name.trim().to_lowercase().replace(' ', "-")
    }

    fn check(&self, Package { name, spec, .. }: &Package) -> Result<(), String> {
        let part = |part: &str| {
            let letter = |c: char| c.is_ascii_alphanumeric() || "-_.~".contains(c);
            !part.is_empty() && !part.starts_with(['.', '-']) && part.chars().all(letter)
        };
        let good = match name.strip_prefix('@') {
            Some(scoped) => scoped.split_once('/').is_some_and(|(scope, name)| part(scope) && part(name)),
            None => part(name),
        };
        if !good || name.len() > NAME_BYTES {
            return Err("a package of npm is called such as left-pad or @scope/name".to_owned());
        }
        if spec.contains(char::is_control) {
            return Err("a version of a package is such as 1.2.3, ^1.2.3, >=1 <2 or a tag".to_owned());
        }
        Ok(())
    }

    fn list(&self, workspace: &Workspace) -> Result<Vec<Package>> {
        let Some(text) = text(workspace, MANIFEST)? else { return Ok(Vec::new()) };
        let manifest = parsed(&text)?;
        let sections = SECTIONS.iter().filter_map(|section| manifest.get(*section)?.as_object());
        let entries = sections.flatten();
        Ok(entries.map(|(name, spec)| package(name, spec.as_str().unwrap_or_default())).collect())
    }

    fn add<'a>(&'a self, tools: &'a Tools, packages: &'a [Package]) -> Work<'a, ()> {
        Box::pin(async move {
            let manager = tools.look(manager).await?;
            let manifest = tools.text(MANIFEST).await?;
            if manifest.is_none() {
                tools.look(|workspace| begin(workspace.root())).await?;
            }
            let mut args = vec![manager.name.to_owned()];
            args.extend(manager.add.iter().map(|word| (*word).to_owned()));
            // To the root itself, where they would otherwise ask whether that is meant.
            if manager.name == "pnpm" && tools.text("pnpm-workspace.yaml").await?.is_some() {
                args.push("--workspace-root".to_owned());
            }
            if manager.name == "yarn" && is_workspace(manifest.as_deref()) {
                // Its later versions ask nothing, and do not know this.
                let later = tools.text("yarn.lock").await?.is_some_and(|lock| lock.contains("__metadata:"));
                args.extend((!later).then(|| "--ignore-workspace-root-check".to_owned()));
            }
            if manager.name == "npm" && packages.iter().all(|package| is_exact(&package.spec)) {
                // As the others do: else it writes down that later ones will do.
                args.push("--save-exact".to_owned());
            }
            args.extend(packages.iter().map(|Package { name, spec, .. }| match wanted(spec) {
                // As other ecosystems write an exact version.
                Some(spec) => format!("{name}@{}", spec.trim_start_matches("==")),
                None => name.clone(),
            }));
            tools.run(args).await
        })
    }

    fn remove<'a>(&'a self, tools: &'a Tools, packages: &'a [Package]) -> Work<'a, ()> {
        Box::pin(async move {
            let manager = tools.look(manager).await?;
            let words = [&[manager.name], manager.remove].concat();
            tools.run(words.into_iter().chain(packages.iter().map(|package| package.name.as_str()))).await
        })
    }

    fn install<'a>(&'a self, tools: &'a Tools) -> Work<'a, ()> {
        Box::pin(async move {
            if tools.text(MANIFEST).await?.is_none() {
                tools.print("There is no package.json: nothing to install.\n".to_owned()).await;
                return Ok(());
            }
            tools.run([tools.look(manager).await?.name, "install"]).await
        })
    }

    fn search<'a>(&'a self, tools: &'a Tools, query: &'a str) -> Work<'a, Vec<Package>> {
        Box::pin(async move {
            let limit = format!("--searchlimit={}", crate::SEARCH_RESULTS);
            let args = ["npm", "search", "--json", "--fetch-retries=0", &limit, "--", query];
            let asked = tools.ask(args, &[], Vec::new()).await?;
            let answer = parsed_answer(&asked.stdout);
            match answer.as_ref().map(Value::as_array) {
                Ok(Some(found)) if asked.exit.success() => Ok(found.iter().filter_map(described).collect()),
                _ => Err(Error::new(why(answer.ok().as_ref(), &asked.stderr))),
            }
        })
    }

    fn info<'a>(&'a self, tools: &'a Tools, name: &'a str) -> Work<'a, Option<Package>> {
        Box::pin(async move {
            let args = ["npm", "view", "--json", "--fetch-retries=0", "--", name];
            let fields =
                ["name", "version", "description", "homepage", "repository", "bugs", "author", "license"];
            let asked =
                tools.ask(args.into_iter().chain(fields).chain(["dependencies"]), &[], Vec::new()).await?;
            let answer = parsed_answer(&asked.stdout).ok();
            if asked.exit.success() {
                // Of more than one version that are meant, it prints a list; the last is the newest.
                let found = answer.as_ref().map(|answer| match answer {
                    Value::Array(all) => all.last().unwrap_or(&Value::Null),
                    one => one,
                });
                return Ok(found.and_then(described));
            }
            match answer.as_ref().and_then(|answer| answer.pointer("/error/code")?.as_str()) {
                Some("E404") => Ok(None),
                _ => Err(Error::new(format!("npm view: {}", why(answer.as_ref(), &asked.stderr)))),
            }
        })
    }
}

/// Begins a manifest: without one, npm would take that of a folder above the workspace. Not through the workspace, where it
/// would count as somebody's own work.
fn begin(root: &Path) -> Result<()> {
    let made = OpenOptions::new().write(true).create_new(true).open(root.join(MANIFEST));
    let written = made.and_then(|mut file| file.write_all(b"{}\n"));
    written.map_err(|error| Error::new(format!("packager: cannot make {MANIFEST}: {error}")))
}

fn is_workspace(manifest: Option<&str>) -> bool {
    manifest.and_then(|text| parsed(text).ok()).is_some_and(|manifest| manifest.contains_key("workspaces"))
}

/// Whether a spec is one version and no other.
fn is_exact(spec: &str) -> bool {
    let version = spec.trim_start_matches('=').split(['-', '+']).next().unwrap_or_default();
    let parts: Vec<_> = version.split('.').collect();
    parts.len() == 3 && parts.iter().all(|part| part.parse::<u32>().is_ok())
}

/// The project's package manager.
fn manager(workspace: &Workspace) -> Result<&'static Manager> {
    let declared = match text(workspace, MANIFEST)? {
        Some(text) => parsed(&text)?.get("packageManager").and_then(Value::as_str).map(str::to_owned),
        None => None,
    };
    if let Some(declared) = declared {
        let name = declared.split('@').next().unwrap_or_default();
        return MANAGERS.iter().find(|manager| manager.name == name).ok_or_else(|| {
            let name = pid1_sdk::error::printable(name);
            Error::new(format!("{MANIFEST}: its packageManager {name} is none of npm, pnpm, yarn and bun"))
        });
    }
    let has =
        |manager: &&Manager| manager.locks.iter().any(|lock| workspace.open_file(Path::new(lock)).is_ok());
    // npm's last: the others leave it lying about when a project changes over.
    Ok(MANAGERS.iter().rev().find(has).unwrap_or(&MANAGERS[0]))
}

fn parsed(text: &str) -> Result<Map<String, Value>> {
    serde_json::from_str(text).map_err(|error| Error::new(format!("{MANIFEST}: {error}")))
}

fn parsed_answer(stdout: &[u8]) -> serde_json::Result<Value> {
    serde_json::from_slice(stdout)
}

/// Why npm has failed.
fn why(answer: Option<&Value>, stderr: &str) -> String {
    let summary = answer.and_then(|answer| answer.pointer("/error/summary")?.as_str());
    let line = summary.filter(|text| !text.is_empty()).or_else(|| stderr.lines().next());
    pid1_sdk::error::printable(line.unwrap_or("it failed and has not said why"))
}

/// A package as `npm view` and `npm search` describe it.
fn described(found: &Value) -> Option<Package> {
    let text = |places: &[&str]| {
        let found = places.iter().find_map(|place| found.pointer(place)?.as_str());
        found.unwrap_or_default().to_owned()
    };
    let dependencies = found.get("dependencies").and_then(Value::as_object).into_iter().flatten();
    Some(Package {
        description: text(&["/description"]),
        version: text(&["/version"]),
        homepage_url: text(&["/homepage", "/links/homepage", "/links/npm"]),
        source_code_url: text(&["/repository/url", "/repository", "/links/repository"]),
        bug_tracker_url: text(&["/bugs/url", "/bugs", "/links/bugs"]),
        author: text(&["/author", "/author/name", "/publisher/username"]),
        license: text(&["/license", "/license/type"]),
        dependencies: dependencies
            .map(|(name, spec)| package(name, spec.as_str().unwrap_or_default()))
            .collect(),
        ..package(found.get("name")?.as_str()?, "")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_npm_prints_becomes_packages() {
        let searched = serde_json::json!({
            "name": "left-pad", "version": "1.3.0", "description": "String left pad", "keywords": ["leftpad"],
            "publisher": { "username": "stevemao", "email": "a@b" }, "maintainers": [],
            "links": { "homepage": "https://a/h", "repository": "git+https://a/r.git", "bugs": "https://a/b", "npm": "https://a/n" },
        });
        let left_pad = Package {
            version: "1.3.0".into(),
            description: "String left pad".into(),
            homepage_url: "https://a/h".into(),
            source_code_url: "git+https://a/r.git".into(),
            bug_tracker_url: "https://a/b".into(),
            author: "stevemao".into(),
            ..package("left-pad", "")
        };
        assert_eq!(described(&searched), Some(left_pad.clone()));
        let viewed = serde_json::json!({
            "name": "left-pad", "version": "1.3.0", "description": "String left pad", "homepage": "https://a/h",
            "repository": { "type": "git", "url": "git+https://a/r.git" }, "bugs": { "url": "https://a/b" },
            "author": { "name": "stevemao" }, "license": "WTFPL", "dependencies": { "x": "^1" },
        });
        let more = Package { license: "WTFPL".into(), dependencies: vec![package("x", "^1")], ..left_pad };
        assert_eq!(described(&viewed), Some(more));
        assert_eq!(described(&serde_json::json!({ "version": "1" })), None);
    }

    #[test]
    fn one_version_is_told_from_many() {
        let exact = ["1.2.3", "=1.2.3", "==1.2.3-rc.1", "0.0.1+x"];
        let many = ["", "1", "1.2", "1.x", "^1.2.3", "1.2.3 || 2.0.0", "1.2.*", "latest", ">=1.2.3"];
        assert!(exact.into_iter().all(is_exact) && !many.into_iter().any(is_exact));
    }

    #[test]
    fn names_that_are_options_or_paths_are_refused() {
        for name in
            ["", "-g", "--prefix", ".", "..", "./x", "a/b", "@a", "@a/", "@/b", "@a/b/c", "a b", "é", "a@1"]
        {
            assert!(Node.check(&package(name, "")).is_err(), "{name:?}");
        }
        assert!(Node.check(&package("x".repeat(215), "")).is_err());
        assert!(Node.check(&package("a", "1\n2")).is_err());
        for (name, spec) in
            [("left-pad", "^1.0"), ("@types/node", "latest"), ("JSONStream", ">=1 <2"), ("a.b_c~d", "")]
        {
            assert_eq!(Node.check(&package(name, spec)), Ok(()), "{name:?}");
        }
    }
}
