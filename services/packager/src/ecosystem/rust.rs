//! Rust: cargo, with Cargo.toml and Cargo.lock.

use pid1_sdk::api::Package;
use pid1_sdk::workspace::Workspace;
use pid1_sdk::{Error, Result};
use toml::{Table, Value};

use super::{Ecosystem, Work, package, wanted};
use crate::tools::{Tools, reason, text};

/// The specfile.
const MANIFEST: &str = "Cargo.toml";

/// Kinds of dependencies, and how `cargo remove` is told them.
const KINDS: [(&str, &[&str]); 3] =
    [("dependencies", &[]), ("dev-dependencies", &["--dev"]), ("build-dependencies", &["--build"])];

pub(super) struct Rust;

/// A dependency, and where it stands.
struct Entry {
    package: Package,
    /// How cargo is told that place.
    place: Vec<String>,
}

impl Ecosystem for Rust {
    fn specfiles(&self) -> &'static [&'static str] {
        &[MANIFEST]
    }

    fn locks(&self) -> &'static [&'static str] {
        &["Cargo.lock"]
    }

    fn env(&self) -> &'static [(&'static str, &'static str)] {
        &[("CARGO_TERM_COLOR", "never"), ("CARGO_TERM_PROGRESS_WHEN", "never")]
    }

    fn advice(&self, _program: &str) -> &'static str {
        "cargo comes with Rust: put it into the image, or install it with rustup, and add its folder to PATH"
    }

    fn plain_name(&self, name: &str) -> String {
        split(name.trim()).0.to_lowercase().replace('_', "-")
    }

    fn check(&self, Package { name, spec, .. }: &Package) -> Result<(), String> {
        let good = |word: &str| {
            let letter = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
            word.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_') && word.chars().all(letter)
        };
        let (crate_name, mut features) = split(name);
        if !good(crate_name) || !features.all(good) {
            return Err("a crate is called such as serde_json, or serde[derive] with a feature".to_owned());
        }
        let letter = |c: char| c.is_ascii_alphanumeric() || "^~=<>*.,+- ".contains(c);
        if !spec.chars().all(letter) || spec.starts_with('-') {
            return Err("a version of a crate is such as 1.2, ^1.2.3, =1.2.3 or >=1, <2".to_owned());
        }
        Ok(())
    }

    fn list(&self, workspace: &Workspace) -> Result<Vec<Package>> {
        Ok(entries(workspace)?.into_iter().map(|entry| entry.package).collect())
    }

    fn add<'a>(&'a self, tools: &'a Tools, packages: &'a [Package]) -> Work<'a, ()> {
        Box::pin(async move {
            tools.look(manifest).await?;
            // Features are told of one crate at a time: of several, cargo does not take them together with versions.
            let (featured, plain): (Vec<_>, Vec<_>) =
                packages.iter().partition(|package| split(&package.name).1.next().is_some());
            let turns = featured.into_iter().map(|package| vec![package]);
            for crates in turns.chain((!plain.is_empty()).then_some(plain)) {
                let mut args = ["cargo", "add", "--manifest-path", MANIFEST].map(str::to_owned).to_vec();
                for feature in split(&crates[0].name).1 {
                    args.extend(["--features", feature].map(str::to_owned));
                }
                args.extend(crates.into_iter().map(|Package { name, spec, .. }| match wanted(spec) {
                    // As other ecosystems write an exact version.
                    Some(spec) => format!("{}@{}", split(name).0, spec.replace("==", "=")),
                    None => split(name).0.to_owned(),
                }));
                tools.run(args).await?;
            }
            // The lock file, and what it names.
            tools.run(["cargo", "fetch"]).await
        })
    }

    fn remove<'a>(&'a self, tools: &'a Tools, packages: &'a [Package]) -> Work<'a, ()> {
        Box::pin(async move {
            let mut entries = tools.look(entries).await?;
            entries.retain(|entry| {
                let name = self.plain_name(&entry.package.name);
                packages.iter().any(|package| self.plain_name(&package.name) == name)
            });
            // One that stands in two places is removed from both.
            while let Some(place) = entries.first().map(|entry| entry.place.clone()) {
                let mut args = ["cargo", "remove", "--manifest-path", MANIFEST].map(str::to_owned).to_vec();
                args.extend(place.iter().cloned());
                let here = entries.extract_if(.., |entry| entry.place == place);
                args.extend(here.map(|entry| entry.package.name));
                // The lock file, too.
                tools.run(args).await?;
            }
            Ok(())
        })
    }

    fn install<'a>(&'a self, tools: &'a Tools) -> Work<'a, ()> {
        Box::pin(async move {
            if tools.text(MANIFEST).await?.is_none() {
                tools.print("There is no Cargo.toml: nothing to install.\n".to_owned()).await;
                return Ok(());
            }
            tools.run(["cargo", "fetch"]).await
        })
    }

    fn search<'a>(&'a self, tools: &'a Tools, query: &'a str) -> Work<'a, Vec<Package>> {
        Box::pin(async move {
            let limit = crate::SEARCH_RESULTS.to_string();
            let args = ["cargo", "search", "--quiet", "--limit", &limit, "--", query];
            let asked = tools.ask(args, &ONCE, Vec::new()).await?;
            match asked.exit.success() {
                true => Ok(found(&String::from_utf8_lossy(&asked.stdout))),
                false => Err(Error::new(reason(&asked.stderr))),
            }
        })
    }

    fn info<'a>(&'a self, tools: &'a Tools, name: &'a str) -> Work<'a, Option<Package>> {
        Box::pin(async move {
            let (name, _) = split(name);
            let asked = tools.ask(["cargo", "info", "--quiet", "--", name], &ONCE, Vec::new()).await?;
            if asked.exit.success() {
                return Ok(Some(told(name, &String::from_utf8_lossy(&asked.stdout))));
            }
            if asked.stderr.contains("could not find") {
                return Ok(None);
            }
            Err(Error::new(format!("cargo info: {}", reason(&asked.stderr))))
        })
    }
}

/// A question is asked once: whoever asks can ask again.
const ONCE: [(&str, &str); 1] = [("CARGO_NET_RETRY", "0")];

/// The name of a crate and the features that are wanted of it: `name[one,two]`.
fn split(name: &str) -> (&str, impl Iterator<Item = &str>) {
    let parts = name.split_once('[').and_then(|(name, inside)| Some((name, inside.strip_suffix(']')?)));
    let (name, features) = parts.unwrap_or((name, ""));
    (name, features.split(',').map(str::trim).filter(move |_| !features.is_empty()))
}

/// The manifest, which must be that of a package: of a mere workspace cargo would take a member for it.
fn manifest(workspace: &Workspace) -> Result<Table> {
    let none = || Error::new(format!("packager: there is no {MANIFEST}: make one with cargo init"));
    let text = text(workspace, MANIFEST)?.ok_or_else(none)?;
    let manifest = parsed(&text)?;
    match manifest.contains_key("package") {
        true => Ok(manifest),
        false => Err(Error::new(format!(
            "packager: {MANIFEST} is a workspace without a package of its own: use cargo add --package MEMBER in a shell"
        ))),
    }
}

fn parsed(text: &str) -> Result<Table> {
    text.parse().map_err(|error: toml::de::Error| Error::new(format!("{MANIFEST}: {}", error.message())))
}

fn entries(workspace: &Workspace) -> Result<Vec<Entry>> {
    let Some(text) = text(workspace, MANIFEST)? else { return Ok(Vec::new()) };
    let manifest = parsed(&text)?;
    let mut all = Vec::new();
    collect(&manifest, &[], &mut all);
    let targets = manifest.get("target").and_then(Value::as_table);
    for (target, section) in targets.into_iter().flatten() {
        if let Some(section) = section.as_table() {
            collect(section, &["--target", target], &mut all);
        }
    }
    Ok(all)
}

/// The dependencies in a table that has sections of them.
fn collect(table: &Table, place: &[&str], all: &mut Vec<Entry>) {
    for (section, flags) in KINDS {
        for (name, value) in table.get(section).and_then(Value::as_table).into_iter().flatten() {
            let spec = match value {
                Value::String(spec) => spec.as_str(),
                value => value.get("version").and_then(Value::as_str).unwrap_or_default(),
            };
            let place = place.iter().chain(flags).map(|flag| (*flag).to_owned()).collect();
            all.push(Entry { package: package(name, spec), place });
        }
    }
}

/// The lines of `cargo search`: `name = "version"    # description`.
fn found(text: &str) -> Vec<Package> {
    let line = |line: &str| {
        let (name, rest) = line.split_once(" = \"")?;
        let (version, rest) = rest.split_once('"')?;
        let description = rest.split_once('#').map_or("", |(_, text)| text.trim());
        let (version, description) = (version.to_owned(), description.to_owned());
        Some(Package { version, description, ..package(name, "") })
    };
    text.lines().filter_map(line).collect()
}

/// What `cargo info` prints: name and keywords, the description, then fields.
fn told(name: &str, text: &str) -> Package {
    let mut told = package(name, "");
    let mut lines = text.lines().skip_while(|line| line.is_empty());
    if let Some(first) = lines.next().and_then(|line| line.split_whitespace().next()) {
        first.clone_into(&mut told.name);
    }
    let mut described = false;
    for line in lines {
        let Some((field, value)) = line.split_once(": ") else {
            if !described {
                told.description = [&told.description, line].join(" ").trim().to_owned();
            }
            continue;
        };
        let place = match field {
            // Behind it may stand which one is newer.
            "version" => {
                described = true;
                value.split(' ').next().unwrap_or_default().clone_into(&mut told.version);
                continue;
            }
            "license" => &mut told.license,
            "homepage" => &mut told.homepage_url,
            "documentation" => &mut told.documentation_url,
            "repository" => &mut told.source_code_url,
            _ if described => continue,
            _ => {
                told.description = [&told.description, line].join(" ").trim().to_owned();
                continue;
            }
        };
        value.clone_into(place);
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cargo_prints_is_read() {
        let all = found("serde = \"1.0.2\"    # A # framework\nserde_x = \"0.1.0\"\n... and 7 crates more\n");
        let first =
            Package { version: "1.0.2".into(), description: "A # framework".into(), ..package("serde", "") };
        assert_eq!(all, [first, Package { version: "0.1.0".into(), ..package("serde_x", "") }]);
        let told = told(
            "ITOA",
            "itoa #integer\nFast: integer\nprimitive\nversion: 1.0.5 (latest 1.0.19)\nlicense: MIT OR Apache-2.0\n\
             rust-version: 1.68\ndocumentation: https://d/itoa\nrepository: https://a/b\nfeatures:\n  no-panic = [dep]\n",
        );
        assert_eq!(
            told,
            Package {
                version: "1.0.5".into(),
                description: "Fast: integer primitive".into(),
                license: "MIT OR Apache-2.0".into(),
                documentation_url: "https://d/itoa".into(),
                source_code_url: "https://a/b".into(),
                ..package("itoa", "")
            }
        );
    }

    #[test]
    fn each_dependency_is_found_where_it_stands() {
        let manifest: Table =
            "[dependencies]\na = \"1\"\nb = { path = \"b\" }\n[dev-dependencies]\na = \"2\"\n\
             [target.'cfg(unix)'.build-dependencies]\nc = { version = \"3\" }\n"
                .parse()
                .unwrap();
        let mut all = Vec::new();
        collect(&manifest, &[], &mut all);
        collect(manifest["target"]["cfg(unix)"].as_table().unwrap(), &["--target", "cfg(unix)"], &mut all);
        let all: Vec<_> = all
            .iter()
            .map(|one| format!("{} {} {}", one.package.name, one.package.spec, one.place.join(" ")))
            .collect();
        assert_eq!(all, ["a 1 ", "b  ", "a 2 --dev", "c 3 --target cfg(unix) --build"]);
    }

    #[test]
    fn what_cargo_could_take_for_something_else_is_refused() {
        for (name, spec) in [
            ("", ""),
            ("-p", ""),
            ("a b", ""),
            ("a", "--git x"),
            ("a[b", ""),
            ("a[-b]", ""),
            ("a[b,]", ""),
            ("a", "1\"x"),
            ("../a", ""),
            ("é", ""),
        ] {
            assert!(Rust.check(&package(name, spec)).is_err(), "{name:?} {spec:?}");
        }
        for (name, spec) in [
            ("serde_json", ""),
            ("serde[derive, rc]", "1"),
            ("a-b", "^1.2.3-rc.1+x"),
            ("a", ">=1, <2"),
            ("a", "*"),
            ("_a", ""),
        ] {
            assert_eq!(Rust.check(&package(name, spec)), Ok(()), "{name:?} {spec:?}");
        }
    }
}
