//! What PyPI knows of a package, by pip: whichever is there, and without installing or running anything of the package.

use pid1_sdk::api::Package;
use pid1_sdk::error::printable;
use pid1_sdk::{Error, Result};
use serde::Deserialize;
use serde_json::Value;

use super::environment::{environments, python};
use super::{Python, requirement};
use crate::ecosystem::{Ecosystem as _, package};
use crate::tools::Tools;

/// What pip has answered.
enum Answer {
    Found(Vec<u8>),
    Unknown,
    /// It cannot do that, or not for this package.
    Failed(Error),
}

/// What PyPI knows of one package; `None` if there is no such package.
pub(super) async fn info(tools: &Tools, name: &str) -> Result<Option<Package>> {
    // A package that has no wheel would have to be run to be described: of that only the version is told, and by an older
    // pip, which cannot describe, too.
    let mut report =
        vec!["install", "--dry-run", "--ignore-installed", "--no-deps", "--only-binary", ":all:"];
    report.extend(["--quiet", "--report", "-", "--", name]);
    if let Answer::Found(report) = pip(tools, &report).await?
        && let Ok(report) = serde_json::from_slice(&report)
    {
        return Ok(described(&report));
    }
    match pip(tools, &["index", "versions", "--", name]).await? {
        Answer::Found(text) => Ok(indexed(&String::from_utf8_lossy(&text))),
        Answer::Unknown => Ok(None),
        Answer::Failed(error) => Err(error),
    }
}

/// Asks pip, whichever is there.
///
/// # Errors
/// If there is none, or it does not reach the registry.
async fn pip(tools: &Tools, words: &[&str]) -> Result<Answer> {
    // One retry only, because whoever asks can ask again. Not none: that there is another is all that pip says of a registry
    // that it has not reached. And nothing is installed, whoever manages the system's Python.
    const ENV: [(&str, &str); 3] =
        [("PIP_RETRIES", "1"), ("PIP_BREAK_SYSTEM_PACKAGES", "1"), ("PIP_USER", "0")];
    const UNREACHED: &str = "WARNING: Retrying";
    let own = environments(tools).into_iter().map(|folder| python(&folder)).filter(|path| path.exists());
    let mut starts: Vec<Vec<String>> =
        own.filter_map(|path| Some(vec![path.to_str()?.to_owned(), "-m".into(), "pip".into()])).collect();
    if tools.has("python3") {
        starts.push(["python3", "-m", "pip"].map(str::to_owned).to_vec());
    }
    if tools.has("uvx") {
        starts.push(["uvx", "--quiet", "pip"].map(str::to_owned).to_vec());
    }
    for start in starts {
        let args = start.into_iter().chain(words.iter().map(|word| (*word).to_owned()));
        let asked = tools.ask(args, &ENV, Vec::new()).await?;
        let line = |begin: &str| asked.stderr.lines().find(|line| line.starts_with(begin)).map(printable);
        if asked.exit.success() {
            return Ok(Answer::Found(asked.stdout));
        }
        if asked.stderr.contains("No module named pip") {
            continue;
        }
        if let Some(line) = line(UNREACHED) {
            return Err(Error::new(format!("pip does not reach its registry: {line}")));
        }
        if asked.stderr.contains("No matching distribution found") {
            return Ok(Answer::Unknown);
        }
        let why = line("ERROR").or_else(|| asked.stderr.lines().last().map(printable));
        let why = why.unwrap_or_else(|| "it has not said why".to_owned());
        return Ok(Answer::Failed(Error::new(format!("pip has failed: {why}"))));
    }
    Err(Error::new(format!("packager: there is no pip: {}", Python.advice("pip"))))
}

/// What pip reports of the one package that it would install.
fn described(report: &Value) -> Option<Package> {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Metadata {
        name: String,
        version: String,
        summary: String,
        home_page: String,
        project_url: Vec<String>,
        author: String,
        author_email: String,
        license: String,
        license_expression: String,
        requires_dist: Vec<String>,
    }
    let found: Metadata = Deserialize::deserialize(report.pointer("/install/0/metadata")?).ok()?;
    // `Label, https://…`, in anybody's words.
    let url = |labels: &[&str]| {
        let pairs = found.project_url.iter().filter_map(|url| url.split_once(", "));
        let named = |label: &str| labels.iter().any(|known| label.to_lowercase().contains(known));
        pairs.into_iter().find(|(label, _)| named(label)).map(|(_, url)| url.to_owned()).unwrap_or_default()
    };
    let or = |one: &str, other: String| if one.is_empty() { other } else { one.to_owned() };
    Some(Package {
        description: found.summary.clone(),
        homepage_url: or(&found.home_page, url(&["homepage", "home page", "home"])),
        documentation_url: url(&["doc"]),
        source_code_url: url(&["source", "repository", "code", "github"]),
        bug_tracker_url: url(&["bug", "issue", "tracker"]),
        author: or(&found.author, found.author_email.clone()),
        // A whole license text is none that a line has room for.
        license: or(&found.license_expression, found.license.lines().next().unwrap_or_default().to_owned()),
        dependencies: found
            .requires_dist
            .iter()
            .filter(|requirement| !requirement.contains("extra =="))
            .filter_map(|requirement| requirement::split(requirement))
            .collect(),
        version: found.version.clone(),
        ..package(found.name.clone(), "")
    })
}

/// The first line of `pip index versions`: `name (version)`.
fn indexed(text: &str) -> Option<Package> {
    let (name, rest) = text.lines().next()?.split_once(" (")?;
    Some(Package { version: rest.split(')').next()?.to_owned(), ..package(name, "") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_pip_prints_is_read() {
        let report = serde_json::json!({ "install": [{ "metadata": {
            "name": "requests", "version": "2.1", "summary": "HTTP", "license": "Apache\nmore", "author_email": "a@b",
            "project_url": ["Documentation, https://d", "Source, https://s", "Bug Tracker, https://b", "Homepage, https://h"],
            "requires_dist": ["idna<4,>=2.5", "PySocks>=1 ; extra == 'socks'"],
        } }] });
        let expected = Package {
            version: "2.1".into(),
            description: "HTTP".into(),
            homepage_url: "https://h".into(),
            documentation_url: "https://d".into(),
            source_code_url: "https://s".into(),
            bug_tracker_url: "https://b".into(),
            author: "a@b".into(),
            license: "Apache".into(),
            dependencies: vec![package("idna", "<4,>=2.5")],
            ..package("requests", "")
        };
        assert_eq!(described(&report), Some(expected));
        assert_eq!(indexed("six (1.17.0)\nAvailable versions: 1.17.0\n").unwrap().version, "1.17.0");
        assert_eq!(indexed(""), None);
    }
}
