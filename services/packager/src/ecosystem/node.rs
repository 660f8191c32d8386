//! Node: package.json, and npm, pnpm, yarn or bun, whichever the project's lock file is of.

mod lookup;

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
        if !good || name.len() > NAME_BYTES || is_archive(name) {
            return Err("a package of npm is called such as left-pad or @scope/name".to_owned());
        }
        if wanted(spec).is_some_and(|spec| !is_spec(spec, part)) {
            let text = "a version of a package is such as 1.2.3, ^1.2.3, >=1 <2, a tag, npm:NAME@1.2.3 or git+https://…";
            return Err(text.to_owned());
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
            if tools.text(MANIFEST).await?.is_none() {
                // Without one, npm would take that of a folder above the workspace.
                tools.make(MANIFEST, "{}\n".to_owned(), 0o666).await?;
            }
            let mut words: Vec<_> = [&[manager.name], manager.add].concat();
            // To the root itself, where it would otherwise ask whether that is meant.
            if manager.name == "pnpm" && tools.text("pnpm-workspace.yaml").await?.is_some() {
                words.push("--workspace-root");
            }
            words.extend(yarn_root(tools, manager).await?);
            let asked = |Package { name, spec, .. }: &Package| match wanted(spec) {
                // As other ecosystems write an exact version.
                Some(spec) => format!("{name}@{}", spec.trim_start_matches("==")),
                None => name.clone(),
            };
            // As the others do: npm else writes down that later ones will do.
            let (exact, others): (Vec<_>, Vec<_>) =
                packages.iter().partition(|package| manager.name == "npm" && is_exact(&package.spec));
            for (flag, packages) in [(Some("--save-exact"), exact), (None, others)] {
                if !packages.is_empty() {
                    let words = words.iter().copied().chain(flag).map(str::to_owned);
                    tools.run(words.chain(packages.into_iter().map(asked))).await?;
                }
            }
            Ok(())
        })
    }

    fn remove<'a>(&'a self, tools: &'a Tools, packages: &'a [Package]) -> Work<'a, ()> {
        Box::pin(async move {
            let manager = tools.look(manager).await?;
            let mut words = [&[manager.name], manager.remove].concat();
            words.extend(yarn_root(tools, manager).await?);
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
        Box::pin(lookup::search(tools, query))
    }

    fn info<'a>(&'a self, tools: &'a Tools, name: &'a str) -> Work<'a, Option<Package>> {
        Box::pin(lookup::info(tools, name))
    }
}

/// What yarn 1 wants to hear at the root of workspaces. Its later versions ask nothing, and do not know it.
async fn yarn_root(tools: &Tools, manager: &Manager) -> Result<Option<&'static str>> {
    let workspaces = |text: String| parsed(&text).is_ok_and(|manifest| manifest.contains_key("workspaces"));
    if manager.name != "yarn" || !tools.text(MANIFEST).await?.is_some_and(workspaces) {
        return Ok(None);
    }
    let version = tools.ask(["yarn", "--version"], &[], Vec::new()).await?.stdout;
    Ok(version.starts_with(b"1.").then_some("--ignore-workspace-root-check"))
}

/// Whether a package manager would take this for a file.
fn is_archive(text: &str) -> bool {
    [".tgz", ".tar", ".tar.gz"].iter().any(|ending| text.to_lowercase().ends_with(ending))
}

/// Whether this is a version, a range of them or a tag; or says where else a package is: by a scheme, or as
/// `owner/repository`. Anything else a package manager would take for a path.
fn is_spec(spec: &str, part: impl Fn(&str) -> bool) -> bool {
    let letter = |c: char| c.is_ascii_alphanumeric() || "-_.^~<>=|*+ ".contains(c);
    let scheme = |(scheme, rest): (&str, &str)| {
        let letter = |c: char| c.is_ascii_lowercase() || c == '+';
        scheme.len() > 1 && scheme.chars().all(letter) && !rest.contains(|c: char| c.is_control() || c == ' ')
    };
    let repository = |(owner, rest): (&str, &str)| {
        let (name, commit) = rest.split_once('#').unwrap_or((rest, ""));
        part(owner)
            && !owner.starts_with('~')
            && part(name)
            && !commit.contains(|c: char| c.is_control() || c == ' ')
    };
    !spec.starts_with(['-', '.'])
        && !is_archive(spec.split(':').next().unwrap_or_default())
        && (spec.chars().all(letter)
            || spec.split_once(':').is_some_and(scheme)
            || spec.split_once('/').is_some_and(repository))
}

/// Whether a spec is one version and no other.
fn is_exact(spec: &str) -> bool {
    let alias = spec.strip_prefix("npm:").and_then(|other| other.rsplit_once('@'));
    let spec = alias.map_or(spec, |(_, spec)| spec);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_version_is_told_from_many() {
        let exact = ["1.2.3", "=1.2.3", "==1.2.3-rc.1", "0.0.1+x", "npm:@a/b@1.2.3"];
        let many = [
            "",
            "1",
            "npm:a",
            "npm:@a/b@^1.2.3",
            "1.2",
            "1.x",
            "^1.2.3",
            "1.2.3 || 2.0.0",
            "1.2.*",
            "latest",
            ">=1.2.3",
        ];
        assert!(exact.into_iter().all(is_exact) && !many.into_iter().any(is_exact));
    }

    #[test]
    fn names_that_are_options_or_paths_are_refused() {
        for name in [
            "", "-g", "--prefix", ".", "..", "./x", "a/b", "@a", "@a/", "@/b", "@a/b/c", "a b", "é", "a@1",
            "x.tar.gz",
        ] {
            assert!(Node.check(&package(name, "")).is_err(), "{name:?}");
        }
        assert!(Node.check(&package("x".repeat(215), "")).is_err());
        for spec in [
            "1\n2",
            "../../etc",
            "/etc",
            "./x",
            "$(touch x)",
            "--global",
            "-g",
            "~/x",
            "..",
            ".x",
            "x.tgz",
            "c:x",
            "a/b/c",
            "x y/z",
            "a/b#c d",
            "file:a b",
        ] {
            assert!(Node.check(&package("a", spec)).is_err(), "{spec:?}");
        }
        for (name, spec) in [
            ("left-pad", "^1.0"),
            ("@types/node", "latest"),
            ("JSONStream", ">=1 <2 || 3.x"),
            ("a.b_c~d", ""),
            ("a", "npm:@b/c@1.2.3"),
            ("a", "file:../a"),
            ("a", "workspace:*"),
            ("a", "git+ssh://git@x.y/a/b.git#v1"),
            ("a", "owner/repository#semver:^1"),
        ] {
            assert_eq!(Node.check(&package(name, spec)), Ok(()), "{name:?} {spec:?}");
        }
    }
}
