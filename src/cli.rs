//! The command line. `serve` runs the agent; the others are clients of one.

mod agents;
mod attach;
mod console;
mod detach;
mod dumb_init;
mod exec;
mod help;
mod init;
mod log;
mod modes;
mod parse;
mod show;
mod toast;
mod token;

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use pid1_sdk::process::{StartError, launch};

use crate::config::{Config, ServeArgs};
use crate::init::secrets;
use crate::{agent, registry};

/// The agent could not run.
const EXIT_FAILED: u8 = 1;

/// What the agent starts programs of other users through; see the engine's `process::launch`.
const LAUNCH: &str = "launch";

/// Drives a container for many clients at once: browser IDEs, SDKs, scripts, AI agents.
///
/// Without a subcommand it serves the current folder and prints the URL to connect to.
// No Debug anywhere here: URLs hold tokens.
#[derive(Parser)]
#[command(name = "pid1", version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Verb>,

    #[command(flatten)]
    serve: ServeArgs,
}

#[derive(Subcommand)]
enum Verb {
    /// Run the agent [the default]
    Serve(Box<ServeArgs>),
    /// Run a command where an agent is, with stdin, stdout, stderr and exit status as if it ran here
    Exec(Box<exec::ExecArgs>),
    /// Share a terminal where an agent is: it runs on when you leave, and is there when you come back
    Attach(Box<attach::AttachArgs>),
    /// Show a message to everybody who is connected to an agent
    Toast(toast::ToastArgs),
    /// Make tokens, and keys to sign them with
    Token(token::TokenArgs),
    /// Run a command under an init without an agent, as tini and dumb-init do
    Init(init::InitArgs),
    /// List the services that clients can open
    Services,
    /// Print a script that completes this command line in a shell
    Completions(help::CompletionsArgs),
    /// Print the manual page
    Man,
}

/// Parses the command line and does what it says.
pub fn main() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().collect();
    // Before all else: a signal that comes now belongs to the command.
    if let Some(role) = init::Role::of(&words) {
        return init::run(&role, &words);
    }
    if words.get(1).is_some_and(|verb| verb == LAUNCH) {
        // Not a verb of the parser's: nobody is to find it.
        let error = launch::carry_out(words.get(2).map(OsString::as_os_str));
        return fail(&error.to_string(), error.status());
    }
    let (cli, _log) = match parse::command_line() {
        Ok(parsed) => parsed,
        Err(error) => return fail(&format!("{error:#}"), EXIT_FAILED),
    };
    match cli.command {
        None => serve(cli.serve),
        Some(Verb::Serve(args)) => serve(*args),
        Some(Verb::Exec(args)) => exec::run(*args),
        Some(Verb::Attach(args)) => attach::run(*args),
        Some(Verb::Toast(args)) => done(toast::run(args)),
        Some(Verb::Token(args)) => done(token::run(args)),
        // Seen above; it is a verb for the sake of the help, the completions and the manual.
        Some(Verb::Init(_)) => init::run(&init::Role::Verb, &words),
        Some(Verb::Services) => services(),
        Some(Verb::Completions(args)) => done(help::completions(&args)),
        Some(Verb::Man) => done(help::man()),
    }
}

/// The whole command line, for what is made from it.
pub fn command() -> clap::Command {
    Cli::command()
}

fn serve(args: ServeArgs) -> ExitCode {
    let run = |args: ServeArgs| {
        secrets::close_memory()?;
        agent::run(Config::from_args(args)?)
    };
    run(args).unwrap_or_else(|error| {
        // A main command that cannot be started: 127 or 126, as a shell has it.
        let refused = error.downcast_ref::<StartError>().map(StartError::shell_code);
        let status = refused.and_then(|code| u8::try_from(code).ok()).unwrap_or(EXIT_FAILED);
        fail(&format!("{error:#}"), status)
    })
}

fn done(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&format!("{error:#}"), EXIT_FAILED),
    }
}

fn fail(error: &str, status: u8) -> ExitCode {
    to_stderr(&format!("pid1: {error}\n"));
    ExitCode::from(status)
}

/// Tells whoever looks at our stderr. It may be closed or full, and that is no reason to fail.
fn to_stderr(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}

/// What was asked for. Nobody may be reading any more, and that is all right.
fn to_stdout(text: &str) {
    let _ = io::stdout().write_all(text.as_bytes());
}

fn services() -> ExitCode {
    let width = registry::SERVICES.iter().map(|service| service.name.len()).max().unwrap_or_default();
    let mut out = io::stdout().lock();
    for service in registry::SERVICES {
        // Nobody may be reading any more, and that is all right.
        let _ = writeln!(out, "{:width$}  {}", service.name, service.doc);
    }
    ExitCode::SUCCESS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    /// A container image, a script or a profile sets them once.
    #[test]
    fn every_flag_of_a_client_has_a_variable() {
        for verb in Cli::command()
            .get_subcommands()
            .filter(|verb| ["exec", "attach", "toast"].contains(&verb.get_name()))
        {
            let flags = verb.get_arguments().filter(|arg| arg.get_long().is_some() && arg.get_id() != "help");
            for flag in flags {
                let name = flag.get_env().and_then(|name| name.to_str()).unwrap_or_default();
                assert!(name.starts_with("PID1_"), "{} {}", verb.get_name(), flag.get_id());
                assert!(flag.get_help().is_some(), "{} {}", verb.get_name(), flag.get_id());
            }
        }
    }

    #[test]
    fn no_subcommand_means_serve() {
        let cli = Cli::try_parse_from(["pid1", "--root", "/tmp"]);
        assert!(cli.is_ok_and(|cli| cli.command.is_none()));
    }
}
