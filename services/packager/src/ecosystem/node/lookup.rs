//! What the registry knows of packages, by `npm view` and `npm search`, whatever the project's own package manager.

use pid1_sdk::api::Package;
use pid1_sdk::error::printable;
use pid1_sdk::{Error, Result};
use serde_json::Value;

use crate::ecosystem::package;
use crate::tools::{Tools, reason};

pub(super) async fn search(tools: &Tools, query: &str) -> Result<Vec<Package>> {
    let limit = format!("--searchlimit={}", crate::SEARCH_RESULTS);
    let args = ["npm", "search", "--json", "--fetch-retries=0", &limit, "--", query];
    let asked = tools.ask(args, &[], Vec::new()).await?;
    let answer = parsed_answer(&asked.stdout);
    match answer.as_ref().map(Value::as_array) {
        Ok(Some(found)) if asked.exit.success() => Ok(found.iter().filter_map(described).collect()),
        _ => Err(Error::new(why(answer.ok().as_ref(), &asked.stderr))),
    }
}

pub(super) async fn info(tools: &Tools, name: &str) -> Result<Option<Package>> {
    let args = ["npm", "view", "--json", "--fetch-retries=0", "--", name];
    let fields = ["name", "version", "description", "homepage", "repository", "bugs", "author", "license"];
    let asked = tools.ask(args.into_iter().chain(fields).chain(["dependencies"]), &[], Vec::new()).await?;
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
}

fn parsed_answer(stdout: &[u8]) -> serde_json::Result<Value> {
    serde_json::from_slice(stdout)
}

/// Why npm has failed.
fn why(answer: Option<&Value>, stderr: &str) -> String {
    let summary = answer.and_then(|answer| answer.pointer("/error/summary")?.as_str());
    let summary = summary.filter(|text| !text.is_empty()).map(str::to_owned);
    printable(&summary.unwrap_or_else(|| reason(stderr)))
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
}
