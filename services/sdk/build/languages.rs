//! Turns `src/project/languages/NAME.toml` into the table of languages: a language is that one file, and a mistake in it
//! is an error of the build.
//!
//! What the fields mean is said at `Language` in `src/project/language.rs`.

use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// One file. Its name is the language's.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Language {
    title: String,
    #[serde(default)]
    aliases: Vec<String>,
    extensions: Vec<String>,
    pattern: String,
    entrypoint: String,
    detect: Vec<Detect>,
    #[serde(default)]
    compile: Vec<String>,
    run: Vec<String>,
    #[serde(default)]
    repl: Vec<String>,
    eval: Option<Eval>,
    #[serde(default)]
    becomes: String,
    #[serde(default)]
    bin: Vec<String>,
    packager: Option<Packager>,
    #[serde(default)]
    hints: Vec<Hint>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Detect {
    file: String,
    weight: u8,
    #[serde(default)]
    has: String,
    #[serde(default)]
    entrypoint: String,
    #[serde(default)]
    endings: Vec<String>,
    #[serde(default)]
    holds: Vec<String>,
    #[serde(default)]
    beside: String,
    #[serde(default)]
    mains: Vec<String>,
    #[serde(default)]
    compile: Vec<String>,
    #[serde(default)]
    run: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Eval {
    command: Vec<String>,
    driver: String,
    main: String,
    package: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Packager {
    name: String,
    files: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Hint {
    regex: String,
    message: String,
}

/// The table as Rust: an array of `Language`.
pub fn table(folder: &Path) -> Result<String, Box<dyn Error>> {
    println!("cargo::rerun-if-changed={}", folder.display());
    let mut files: Vec<PathBuf> = fs::read_dir(folder)?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<Vec<_>, std::io::Error>>()?
        .into_iter()
        .filter(|path| path.extension().is_some_and(|ending| ending == "toml"))
        .collect();
    files.sort();
    let mut text = String::from("&[\n");
    for path in files {
        let wrong = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
        let file = fs::read_to_string(&path)?;
        let language: Language = toml::from_str(&file).map_err(|error| wrong(&error))?;
        let name = path.file_stem().and_then(|name| name.to_str()).ok_or("the name of a language is text")?;
        entry(&mut text, folder, name, &language).map_err(|error| wrong(&error))?;
    }
    text.push(']');
    Ok(text)
}

fn entry(text: &mut String, folder: &Path, name: &str, language: &Language) -> Result<(), Box<dyn Error>> {
    let Language {
        title, aliases, extensions, pattern, entrypoint, compile, run, repl, becomes, bin, ..
    } = language;
    writeln!(
        text,
        "Language {{ name: {name:?}, title: {title:?}, aliases: &{aliases:?}, extensions: &{extensions:?}, \
         pattern: {pattern:?}, entrypoint: {entrypoint:?}, compile: &{compile:?}, run: &{run:?}, repl: &{repl:?}, \
         becomes: {becomes:?}, bin: &{bin:?},"
    )?;
    text.push_str("detect: &[");
    for Detect { file, weight, has, entrypoint, endings, holds, beside, mains, compile, run } in
        &language.detect
    {
        writeln!(
            text,
            "Detect {{ file: {file:?}, weight: {weight}, has: {has:?}, entrypoint: {entrypoint:?}, \
             endings: &{endings:?}, holds: &{holds:?}, beside: {beside:?}, mains: &{mains:?}, \
             compile: &{compile:?}, run: &{run:?} }},"
        )?;
    }
    text.push_str("], eval: ");
    match &language.eval {
        None => text.push_str("None"),
        Some(Eval { command, driver, main, package }) => {
            let path = folder.join(driver).canonicalize()?;
            write!(
                text,
                "Some(Eval {{ command: &{command:?}, driver: include_str!({path:?}), main: {main:?}, package: {package:?} }})"
            )?;
        }
    }
    text.push_str(", packager: ");
    match &language.packager {
        None => text.push_str("None"),
        Some(Packager { name, files }) => {
            write!(text, "Some(Packager {{ name: {name:?}, files: &{files:?} }})")?;
        }
    }
    text.push_str(", hints: &[");
    for Hint { regex, message } in &language.hints {
        writeln!(text, "Hint {{ regex: Cow::Borrowed({regex:?}), message: Cow::Borrowed({message:?}) }},")?;
    }
    text.push_str("] },\n");
    Ok(())
}
