//! `pid1.toml`: the flags of `serve` as a file, for people who would rather not write a long command line.
//!
//! A key is a flag's name without the dashes, an array repeats it. What the command line or the environment say goes
//! first. The file is `--config FILE`, else `/etc/pid1.toml` if there is one; never one in the workspace, whose
//! contents others may have written.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use clap::parser::ValueSource;
use clap::{ArgAction, ArgMatches, Command};
use toml::Value;

/// Read if nobody names another.
const DEFAULT: &str = "/etc/pid1.toml";

/// The flag that names the file.
pub(crate) const FLAG: &str = "config";

/// Where the file is, if there is one.
pub(crate) fn find(matches: &ArgMatches) -> Option<PathBuf> {
    let chosen = matches.get_one::<PathBuf>(FLAG).cloned();
    chosen.or_else(|| Some(PathBuf::from(DEFAULT)).filter(|file| file.exists()))
}

/// What the file adds to the command line that gave `matches`.
pub(crate) fn arguments(file: &Path, serve: &Command, matches: &ArgMatches) -> Result<Vec<OsString>> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let what = || format!("cannot use {}", file.display());
    from_text(&text, serve, matches).with_context(what)
}

fn from_text(text: &str, serve: &Command, matches: &ArgMatches) -> Result<Vec<OsString>> {
    // Not the library's whole message: it quotes the line, which may hold a secret.
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        anyhow!("line {} is no TOML: {}", before.matches('\n').count() + 1, error.message())
    })?;
    let mut arguments = Vec::new();
    for (key, value) in table {
        let arg =
            serve.get_arguments().find(|arg| arg.get_long() == Some(&key) && key != FLAG && key != "help");
        let arg = arg.ok_or_else(|| {
            anyhow!("there is no setting {key:?}; they are named as the flags of `pid1 serve`")
        })?;
        let id = arg.get_id().as_str();
        if matches!(matches.value_source(id), Some(ValueSource::CommandLine | ValueSource::EnvVariable)) {
            continue;
        }
        let values = match value {
            Value::Array(values) if matches!(arg.get_action(), ArgAction::Append) => values,
            Value::Array(_) => bail!("{key} takes one value, not several"),
            one => vec![one],
        };
        let is_switch = matches!(arg.get_action(), ArgAction::SetTrue);
        for value in values {
            match value {
                Value::Boolean(on) if is_switch => arguments.extend(on.then(|| format!("--{key}").into())),
                _ if is_switch => bail!("{key} is true or false"),
                Value::String(text) => arguments.push(format!("--{key}={text}").into()),
                Value::Integer(number) => arguments.push(format!("--{key}={number}").into()),
                Value::Float(number) => arguments.push(format!("--{key}={number}").into()),
                other => bail!("{key} cannot be a {}", other.type_str()),
            }
        }
    }
    Ok(arguments)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ServeArgs;
    use clap::Args;

    fn arguments(text: &str, given: &[&str]) -> Result<Vec<String>> {
        let serve = ServeArgs::augment_args(Command::new("serve"));
        let matches = serve.clone().get_matches_from([&["serve"], given].concat());
        let arguments = from_text(text, &serve, &matches)?;
        Ok(arguments.into_iter().map(|arg| arg.to_string_lossy().into_owned()).collect())
    }

    #[test]
    fn each_kind_of_value() -> Result<()> {
        let text =
            "root = '/w'\nthreads = 2\nstop-grace = 0.5\nhost = ['a', 'b']\nany-repl = true\ndev-key = false";
        let mut found = arguments(text, &[])?;
        found.sort();
        assert_eq!(
            found,
            ["--any-repl", "--host=a", "--host=b", "--root=/w", "--stop-grace=0.5", "--threads=2"]
        );
        Ok(())
    }

    #[test]
    fn the_command_line_goes_first() -> Result<()> {
        assert_eq!(arguments("root = '/w'\nthreads = 2", &["--threads", "3"])?, ["--root=/w"]);
        Ok(())
    }

    #[test]
    fn mistakes_are_named() {
        for (text, why) in [
            ("rooot = '/w'", "there is no setting \"rooot\""),
            ("config = 'x'", "there is no setting \"config\""),
            ("root = ['/w']", "root takes one value"),
            ("any-repl = 'yes'", "any-repl is true or false"),
            ("threads = {}", "threads cannot be a table"),
            ("threads = 1\nroot = ", "line 2 is no TOML"),
            ("token = 'secret", "line 1 is no TOML"),
            ("token = secret", "line 1 is no TOML"),
        ] {
            let said = format!("{:#}", arguments(text, &[]).expect_err(text));
            assert!(said.contains(why) && !said.contains("secret"), "{said}");
        }
    }
}
