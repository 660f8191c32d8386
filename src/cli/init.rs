//! `pid1 init`: a command under an init without an agent. Its flags are tini's, so it answers to that name, too.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::ExitCode;

use clap::{Args, Parser};
use nix::sys::signal::Signal;

use super::dumb_init::DumbInit;
use super::{EXIT_FAILED, fail};
use crate::init::foreground::Place;
use crate::init::plain::{self, Held, Options};

/// What is said without any `-v`: warnings.
const VERBOSITY: u8 = 1;

/// A command line that is not understood.
const EXIT_USAGE: u8 = 1;

const VARIABLES: &str = "\
Environment:
  TINI_SUBREAPER           If set, as -s
  TINI_KILL_PROCESS_GROUP  If set, as -g
  TINI_VERBOSITY           How much is said, from 0 to 3; goes before -v [default: 1]

Called by the name tini or docker-init it takes this command line; called dumb-init, that one's.";

/// Run a command under an init and nothing else: signals go to it, orphans are reaped, its status is ours
#[derive(Args)]
#[command(args_override_self = true, after_help = VARIABLES)]
pub(super) struct InitArgs {
    /// Reap orphans although this is not process 1
    #[arg(short)]
    subreaper: bool,

    /// What to get when the parent ends, such as SIGTERM; it is forwarded as any other
    #[arg(short, value_name = "SIGNAL", value_parser = signal)]
    parent_death: Option<Signal>,

    /// Say more on stderr; may be repeated
    #[arg(short, action = clap::ArgAction::Count)]
    verbose: u8,

    /// Warn of each orphan that is reaped
    #[arg(short)]
    warn_on_reap: bool,

    /// Send signals to the command's whole process group
    #[arg(short = 'g')]
    group: bool,

    /// A status of the command (0 to 255) that becomes 0; may be repeated
    #[arg(short = 'e', value_name = "EXIT_CODE")]
    expect: Vec<u8>,

    /// Show the license
    #[arg(short)]
    license: bool,

    /// The command and its arguments; flags behind its first word are its own
    #[arg(required_unless_present = "license", trailing_var_arg = true, value_name = "CMD")]
    command: Vec<OsString>,
}

#[derive(Parser)]
#[command(version)]
struct Tini {
    #[command(flatten)]
    args: InitArgs,
}

/// As what this binary was called, if that is an init.
pub(super) enum Role {
    /// `pid1 init`.
    Verb,
    Tini,
    DumbInit,
}

impl Role {
    pub(super) fn of(words: &[OsString]) -> Option<Role> {
        let name = words.first().and_then(|word| Path::new(word).file_name()).and_then(OsStr::to_str);
        match name {
            Some("tini" | "tini-static" | "docker-init") => Some(Role::Tini),
            Some("dumb-init") => Some(Role::DumbInit),
            _ => words.get(1).is_some_and(|verb| verb == "init").then_some(Role::Verb),
        }
    }
}

/// Parses the words for this role and does what they say. Signals wait from the first moment on.
pub(super) fn run(role: &Role, words: &[OsString]) -> ExitCode {
    let held = match Held::all() {
        Ok(held) => held,
        Err(error) => return fail(&format!("{error:#}"), EXIT_FAILED),
    };
    let parsed = match role {
        Role::Verb => parse("pid1 init", words.get(1..).unwrap_or_default()),
        Role::Tini => parse("tini", words),
        Role::DumbInit => DumbInit::try_parse_from(words).map(|args| Some(args.options())),
    };
    match parsed {
        Ok(Some(options)) => ExitCode::from(plain::run(options, &held)),
        Ok(None) => {
            super::to_stdout(include_str!("../../LICENSE"));
            ExitCode::SUCCESS
        }
        Err(error) => {
            // Nobody may be reading.
            let _ = error.print();
            if error.use_stderr() { ExitCode::from(EXIT_USAGE) } else { ExitCode::SUCCESS }
        }
    }
}

/// What is to be done; `None` if it is to show the license.
fn parse(name: &'static str, words: &[OsString]) -> Result<Option<Options>, clap::Error> {
    use clap::{CommandFactory, FromArgMatches};
    let matches = Tini::command().name(name).bin_name(name).try_get_matches_from(words)?;
    let Tini { mut args } = Tini::from_arg_matches(&matches)?;
    // tini's usage is `tini PROGRAM -- ARGS`: there the first `--` is no argument, wherever it stands.
    let separator = words.iter().position(|word| word == "--");
    if separator.is_some_and(|at| words.len() - at + 1 == args.command.len()) {
        args.command.remove(1);
    }
    Ok((!args.license).then(|| args.options(|name| std::env::var_os(name))))
}

impl InitArgs {
    fn options(self, variable: impl Fn(&str) -> Option<OsString>) -> Options {
        let said =
            variable("TINI_VERBOSITY").map(|level| level.to_str().and_then(|level| level.parse().ok()));
        Options {
            command: self.command,
            place: Place::Group,
            whole_group: self.group || variable("TINI_KILL_PROCESS_GROUP").is_some(),
            subreaper: self.subreaper || variable("TINI_SUBREAPER").is_some(),
            parent_death: self.parent_death,
            remapped: self.expect,
            rewritten: BTreeMap::new(),
            // What is no number says nothing, as in tini.
            verbosity: said.map_or(VERBOSITY.saturating_add(self.verbose), Option::unwrap_or_default),
            warn_on_reap: self.warn_on_reap,
        }
    }
}

fn signal(text: &str) -> Result<Signal, String> {
    let name = if text.starts_with("SIG") { text.to_owned() } else { format!("SIG{text}") };
    name.parse().map_err(|_| format!("{text:?} is no signal; write it as SIGTERM"))
}
