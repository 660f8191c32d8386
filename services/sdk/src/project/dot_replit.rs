//! `.replit`, read: what the agent acts on, with its types checked, and the rest as it stands there.
//!
//! The keys are those of the published documentation. What is not known is passed over, so that files of today and
//! tomorrow can be read. What decides how the program is run has to be right: a mistake there is told. Anything else that is
//! wrong counts as not said: nobody who presses Run is kept from it by a port written as text.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};

use super::command::CommandLine;
use super::env::Variables;
use super::language::{Hint, Language};
use super::workflow::Workflows;
use crate::error::{Error, Result, printable};

/// How much of a wrong line is shown.
const LINE_CHARS: usize = 80;

/// How much is shown of what is said about it, which may quote a value.
const MESSAGE_CHARS: usize = 400;

/// What `.replit` says. What it does not say is empty.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct DotReplit {
    #[serde(deserialize_with = "command")]
    /// What Run starts.
    pub run: Option<CommandLine>,
    /// What has to succeed before it.
    #[serde(deserialize_with = "command")]
    pub compile: Option<CommandLine>,
    /// What runs once when the container starts.
    #[serde(deserialize_with = "lenient_command")]
    pub on_boot: Option<CommandLine>,
    /// The main language, by any of its names; also of one that is not known here.
    pub language: String,
    /// The main file, from the root.
    pub entrypoint: String,
    /// What editors leave out of their lists.
    #[serde(deserialize_with = "each")]
    pub hidden: Vec<String>,
    #[serde(deserialize_with = "variables")]
    /// Variables of what Run starts, in their order and as they stand there.
    pub env: Vec<(String, String)>,
    /// About packages.
    #[serde(deserialize_with = "lenient")]
    pub packager: Packager,
    /// A program that is typed into.
    pub interpreter: Interpreter,
    /// What Run may do in place of `run`.
    pub workflows: Workflows,
    /// By the name that the file gives them.
    #[serde(deserialize_with = "sections")]
    pub languages: BTreeMap<String, LanguageSection>,
    /// Of the main language, as older files have it.
    #[serde(deserialize_with = "lenient")]
    pub language_server: LanguageServer,
    /// Advice on what programs print.
    #[serde(deserialize_with = "hints")]
    pub hints: Vec<Hint>,
    /// Where programs listen.
    #[serde(deserialize_with = "each")]
    pub ports: Vec<Port>,
    /// What the container's tools are put together from.
    #[serde(deserialize_with = "each")]
    pub modules: Vec<String>,
    /// About tests.
    #[serde(deserialize_with = "lenient")]
    pub unit_test: UnitTest,
    /// Everything that stands there.
    #[serde(skip)]
    pub(super) table: toml::Table,
}

/// `[packager]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Packager {
    /// Whose packages, if not those of the main language.
    #[serde(deserialize_with = "lenient")]
    pub language: String,
    /// What runs when packages have been installed.
    #[serde(deserialize_with = "lenient_command")]
    pub after_install: Option<CommandLine>,
    /// Where imports are not looked for.
    #[serde(deserialize_with = "each")]
    pub ignored_paths: Vec<String>,
    /// What is never installed because it is imported.
    #[serde(deserialize_with = "each")]
    pub ignored_packages: Vec<String>,
    /// What is switched on.
    #[serde(deserialize_with = "lenient")]
    pub features: PackagerFeatures,
    /// Added to the package manager's environment.
    #[serde(deserialize_with = "lenient_variables")]
    pub env: Vec<(String, String)>,
}

/// `[packager.features]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PackagerFeatures {
    /// That packages can be searched.
    #[serde(deserialize_with = "lenient")]
    pub package_search: bool,
    /// That what is imported is installed before a run.
    #[serde(deserialize_with = "lenient")]
    pub guess_imports: bool,
    /// That packages are installed when the workspace is published.
    #[serde(deserialize_with = "lenient")]
    pub enabled_for_hosting: bool,
}

/// `[interpreter]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, expecting = "a table: [interpreter]")]
pub struct Interpreter {
    /// Starts it.
    #[serde(deserialize_with = "command")]
    pub command: Option<CommandLine>,
    /// What it prints when it waits for a line.
    #[serde(deserialize_with = "prompt")]
    pub prompt: Vec<u8>,
}

/// `[languages.NAME]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct LanguageSection {
    /// Which files are of it.
    #[serde(deserialize_with = "lenient")]
    pub pattern: String,
    /// How editors colour them.
    #[serde(deserialize_with = "lenient")]
    pub syntax: String,
    /// What answers editors about them.
    #[serde(deserialize_with = "lenient")]
    pub language_server: LanguageServer,
}

/// `[languages.NAME.languageServer]`, or `[languageServer]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct LanguageServer {
    /// Starts it.
    #[serde(alias = "startCommand", alias = "command", deserialize_with = "command")]
    pub start: Option<CommandLine>,
}

/// One of `[[ports]]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Port {
    /// Where the program listens.
    pub local_port: u16,
    /// Where others find it.
    pub external_port: u16,
    /// Also if it listens on the loopback address only.
    pub expose_localhost: bool,
}

/// `[unitTest]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct UnitTest {
    /// In which language the tests are.
    pub language: String,
}

impl DotReplit {
    /// What `text` says.
    ///
    /// # Errors
    /// If it is no TOML, or something that the agent acts on is of the wrong type: with the line, and what may stand there.
    pub fn parse(text: &str) -> Result<DotReplit> {
        let wrong = |error: toml::de::Error| wrong_at(text, error.span(), error.message());
        let table = toml::from_str(text).map_err(wrong)?;
        Ok(DotReplit { table, ..toml::from_str(text).map_err(wrong)? })
    }

    /// The languages that `modules` bring, as far as they are known: `nodejs-20`, `rust-stable:v1`.
    pub(super) fn module_languages(&self) -> Vec<&'static Language> {
        let known = |module: &String| Language::find(module.split(['-', ':']).next()?);
        self.modules.iter().filter_map(known).collect()
    }
}

/// An error that names the line, and shows it.
pub(super) fn wrong_at(text: &str, span: Option<std::ops::Range<usize>>, message: &str) -> Error {
    let message = shown(message, MESSAGE_CHARS);
    let Some(before) = span.and_then(|span| text.get(..span.start)) else {
        return Error::new(format!(".replit: {message}"));
    };
    let start = before.rfind('\n').map_or(0, |at| at + 1);
    let line = text[start..].lines().next().unwrap_or_default();
    let number = before.matches('\n').count() + 1;
    Error::new(format!(".replit, line {number} ({}): {message}", shown(line, LINE_CHARS)))
}

/// The beginning of something, as it may be shown.
pub(super) fn shown(text: &str, most_chars: usize) -> String {
    printable(&text.trim().chars().take(most_chars).collect::<String>())
}

fn command<'de, D: Deserializer<'de>>(from: D) -> Result<Option<CommandLine>, D::Error> {
    CommandLine::deserialize(from).map(CommandLine::or_none)
}

fn variables<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<(String, String)>, D::Error> {
    Variables::deserialize(from).map(|variables| variables.0)
}

fn hints<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Hint>, D::Error> {
    #[derive(Deserialize)]
    struct Written {
        regex: String,
        message: String,
    }
    let written: Vec<Written> = each(from)?;
    Ok(written
        .into_iter()
        .map(|hint| Hint { regex: hint.regex.into(), message: hint.message.into() })
        .collect())
}

/// What stands there if it is what it should be; else what stands for nothing.
fn lenient<'de, D: Deserializer<'de>, T: DeserializeOwned + Default>(from: D) -> Result<T, D::Error> {
    Ok(said(toml::Value::deserialize(from)?).unwrap_or_default())
}

/// Those elements of a list that are what they should be.
fn each<'de, D: Deserializer<'de>, T: DeserializeOwned>(from: D) -> Result<Vec<T>, D::Error> {
    let all: Vec<toml::Value> = lenient(from)?;
    Ok(all.into_iter().filter_map(said).collect())
}

/// Those entries of a table that are what they should be.
fn sections<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<String, LanguageSection>, D::Error> {
    let all: toml::Table = lenient(from)?;
    Ok(all.into_iter().filter_map(|(name, section)| Some((name, said(section)?))).collect())
}

fn lenient_command<'de, D: Deserializer<'de>>(from: D) -> Result<Option<CommandLine>, D::Error> {
    lenient::<D, CommandLine>(from).map(CommandLine::or_none)
}

fn lenient_variables<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<(String, String)>, D::Error> {
    lenient::<D, Variables>(from).map(|variables| variables.0)
}

fn said<T: DeserializeOwned>(value: toml::Value) -> Option<T> {
    let read = T::deserialize(value);
    read.inspect_err(|error| {
        tracing::debug!(error = error.message(), "counts as not said in {}", super::FILE)
    })
    .ok()
}

/// Text, or its bytes as numbers.
fn prompt<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "a prompt is \"text\", or its bytes: [62, 32]")]
    enum Written {
        Text(String),
        Bytes(Vec<u8>),
    }
    Ok(match Written::deserialize(from)? {
        Written::Text(text) => text.into_bytes(),
        Written::Bytes(bytes) => bytes,
    })
}
