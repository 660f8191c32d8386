//! From the command line, the environment and `pid1.toml` to one parsed whole. Secrets are hidden on the way.

use std::ffi::OsString;

use anyhow::{Context, Result};
use clap::{ArgMatches, CommandFactory, FromArgMatches, Subcommand};

use super::{Cli, Verb};
use crate::config::file;
use crate::init::secrets;

/// What was asked for. Ends the process for `--help` and for mistakes, as clap does.
pub(super) fn command_line() -> Result<Cli> {
    let given: Vec<OsString> = std::env::args_os().collect();
    let hidden = secrets::take()?;
    let mut line = Line(given.clone());
    line.add(hidden.clone().unwrap_or_default());
    let mut matches = line.matches();
    if !serves(&matches) {
        return Ok(Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit()));
    }
    let seen = of_serve(&matches).clone();
    if let Some(path) = file::find(&seen) {
        let found = file::arguments(&path, &serve_command(), &seen)?;
        line.add(found);
        let what = || format!("cannot use {}", path.display());
        matches = Cli::command().try_get_matches_from(&line.0).with_context(what)?;
    }
    let mut cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let args = match &mut cli.command {
        Some(Verb::Serve(args)) => args,
        _ => &mut cli.serve,
    };
    args.access.settle(&seen)?;
    if hidden.is_none() {
        secrets::hide(&given, &seen, args.access.secrets(), &args.secret_env)?;
    }
    Ok(cli)
}

/// A command line that more flags of `serve` are added to.
struct Line(Vec<OsString>);

impl Line {
    fn add(&mut self, flags: Vec<OsString>) {
        // In front of the flags that were given: behind a `--` everything belongs to somebody else.
        let named = self.0.get(1).is_some_and(|verb| verb == "serve");
        let at = self.0.len().min(if named { 2 } else { 1 });
        self.0.splice(at..at, flags);
    }

    fn matches(&self) -> ArgMatches {
        Cli::command().get_matches_from(&self.0)
    }
}

fn serves(matches: &ArgMatches) -> bool {
    matches.subcommand_name().is_none_or(|name| name == "serve")
}

fn of_serve(matches: &ArgMatches) -> &ArgMatches {
    matches.subcommand_matches("serve").unwrap_or(matches)
}

fn serve_command() -> clap::Command {
    let verbs = Verb::augment_subcommands(clap::Command::new("pid1"));
    verbs.find_subcommand("serve").cloned().unwrap_or_default()
}
