//! From the command line, the environment and `pid1.toml` to one parsed whole. Secrets are hidden on the way.

use std::ffi::OsString;

use anyhow::{Context, Result, anyhow};
use clap::{ArgMatches, CommandFactory, FromArgMatches, Subcommand};

use super::log::{self, Log};
use super::{Cli, Verb};
use crate::config::file;
use crate::init::secrets::{self, Hidden};
use crate::init::{self, mounts};
use crate::terminal;

/// What was asked for; if that is to serve, the log is open. Ends the process for `--help` and for mistakes, as clap
/// does.
pub(super) fn command_line() -> Result<(Cli, Option<Log>)> {
    init::hold_signals().context("cannot hold signals")?;
    let given: Vec<OsString> = std::env::args_os().collect();
    let hidden = secrets::take()?;
    let anew = hidden.is_some();
    let Hidden { secrets: known, mut settings } = hidden.unwrap_or_default();
    let mut line = Line(given.clone());
    line.add(known);
    let mut matches = line.matches();
    if !serves(&matches) {
        terminal::hear_signals().context("cannot listen for signals")?;
        return Ok((Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit()), None));
    }
    let seen = of_serve(&matches).clone();
    if let Some(path) = file::find(&seen) {
        if !anew {
            settings = file::arguments(&path, &serve_command(), &seen)?;
        }
        line.add(settings.clone());
        let parsed = Cli::command().try_get_matches_from(&line.0);
        matches = parsed.map_err(|error| anyhow!("cannot use {}: {}", path.display(), in_short(&error)))?;
    }
    let mut cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let args = match &mut cli.command {
        Some(Verb::Serve(args)) => args,
        _ => &mut cli.serve,
    };
    args.access.settle(&seen)?;
    let mut log = Some(log::begin(&args.log)?);
    if !anew {
        // Before anything needs them: the agent finds its own file in /proc.
        mounts::prepare(!args.no_mounts)?;
        let hidden = secrets::to_hide(&given, &seen, args.access.secrets(), &settings, &args.secret_env)?;
        if let Some(anew) = hidden {
            // What it has said so far is written by a thread that ends here.
            drop(log.take());
            anew.start()?;
        }
    }
    Ok((cli, log))
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

/// The first line of what clap says, which is all there is to say about a file.
fn in_short(error: &clap::Error) -> String {
    let whole = error.render().to_string();
    whole.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned()
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
