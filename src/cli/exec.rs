//! `pid1 exec`: a command where an agent is, as if it ran here. Byte for byte, through the `process` service.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use pid1_sdk::api::{ProcessStart, ResizeTerm, process_exited::Cause};

use super::agents::AgentArgs;
use super::console::{self, Console, EXIT_NO_AGENT, Ended, say};
use super::detach::DetachKeys;
use super::fail;
use crate::client::{Program, Wanted};
use crate::config::seconds;
use crate::terminal::{self, RawMode};

/// As `timeout` says it.
const EXIT_TIMED_OUT: u8 = 124;

/// The least that a command outlives its connection: the service counts in seconds, and 0 means its own default.
const KEEP_LEAST: u32 = 1;

/// A window nobody knows the size of.
const UNKNOWN_SIZE: (u16, u16) = (24, 80);

#[derive(Args)]
pub(super) struct ExecArgs {
    /// The agent: the URL it printed, wss://HOST:PORT/wsv2/TOKEN, or unix:PATH of its socket on this machine
    // Parsed later: an error of clap's would show the token.
    #[arg(env = "PID1_URL", hide_env_values = true)]
    url: String,

    #[command(flatten)]
    agent: AgentArgs,

    /// Give the command a terminal; with ours, every key goes to it
    #[arg(short, long, env = "PID1_EXEC_TTY", value_parser = clap::builder::BoolishValueParser::new())]
    tty: bool,

    /// Leave our stdin alone: the command's input is empty. For the background, and for loops that read theirs
    #[arg(short, long, env = "PID1_EXEC_NO_STDIN", value_parser = clap::builder::BoolishValueParser::new())]
    no_stdin: bool,

    /// Set a variable for the command, or with NAME alone pass ours on; may be repeated
    #[arg(short, long = "env", env = "PID1_EXEC_ENV", value_name = "NAME=VALUE", value_parser = variable)]
    env: Vec<(String, String)>,

    /// Where the command starts; from the workspace if relative [default: the workspace]
    #[arg(short = 'w', long, env = "PID1_EXEC_CWD", value_name = "DIR")]
    cwd: Option<String>,

    /// Run the command as this user, as docker's --user has it: NAME, UID, NAME:GROUP, UID:GID [default: the agent's own]
    #[arg(short, long, env = "PID1_EXEC_USER", value_name = "USER")]
    user: Option<String>,

    /// Stop the command, with all it started, after so many seconds; the status is then 124. The agent sees to it, so
    /// it holds when the connection is lost, too
    #[arg(long, env = "PID1_EXEC_TIMEOUT", value_name = "SECONDS", value_parser = some_seconds)]
    timeout: Option<Duration>,

    /// How long a lost connection is tried again, in seconds; the command runs on meanwhile, and at most as long
    #[arg(long, env = "PID1_EXEC_RECONNECT", value_name = "SECONDS", value_parser = seconds, default_value = "60")]
    reconnect: Duration,

    /// With --tty on a terminal: keys that leave the command running, such as ctrl-p,ctrl-q [default: none]
    #[arg(long, env = "PID1_EXEC_DETACH_KEYS", value_name = "KEYS")]
    detach_keys: Option<DetachKeys>,

    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<String>,
}

pub(super) fn run(args: ExecArgs) -> ExitCode {
    let prepared = args.agent.at(&args.url).map_err(|error| error.to_string());
    let prepared = prepared.and_then(|address| Ok((address, random_name()?, random_name()?)));
    let (address, channel, writer) = match prepared {
        Ok(prepared) => prepared,
        Err(error) => return fail(&error, EXIT_NO_AGENT),
    };
    let mut env = if args.tty { terminal::environment() } else { Vec::new() };
    env.extend(args.env);
    let at_terminal = args.tty && terminal::is_terminal();
    // In what comes from a pipe the same bytes are just bytes.
    let keys = args.detach_keys.filter(|_| at_terminal);
    let start = ProcessStart {
        args: args.command,
        env: env.into_iter().collect(),
        cwd: args.cwd.unwrap_or_default(),
        user: args.user.unwrap_or_default(),
        terminal: args.tty.then(window),
        // Whoever can come back finds it; otherwise it must not run longer than we may need to.
        keep_seconds: if keys.is_some() { u32::MAX } else { whole_seconds(args.reconnect).max(KEEP_LEAST) },
        timeout_ms: args.timeout.map_or(0, |limit| u64::try_from(limit.as_millis()).unwrap_or(u64::MAX)),
        ..ProcessStart::default()
    };
    let channel = format!("exec-{channel}");
    let come_back = format!("the command runs on: pid1 attach --name {channel}");
    let wanted = Wanted {
        channel,
        program: Program::Start(Box::new(start)),
        writer,
        shared: false,
        patience: Some(args.reconnect),
    };
    let raw = if at_terminal {
        match RawMode::enter() {
            Ok(raw) => Some(raw),
            Err(error) => return fail(&format!("cannot use this terminal: {error}"), EXIT_NO_AGENT),
        }
    } else {
        None
    };
    let console = Console {
        raw,
        keys,
        forwards: true,
        exact: true,
        come_back,
        no_input: args.no_stdin,
        ..Console::default()
    };
    console::run(address, wanted, console, |end| match end {
        Ended::Program(exited) if exited.cause() == Cause::TimedOut => {
            let limit = args.timeout.unwrap_or_default().as_secs_f64();
            say(&format!("the command was stopped: it had run for {limit} s, as --timeout allows"));
            Some(ExitCode::from(EXIT_TIMED_OUT))
        }
        _ => None,
    })
}

/// The size of our window, for a terminal there.
pub(super) fn window() -> ResizeTerm {
    let (rows, cols) = terminal::size().unwrap_or(UNKNOWN_SIZE);
    ResizeTerm { rows: rows.into(), cols: cols.into() }
}

/// A name nobody can guess: 128 bits.
pub(super) fn random_name() -> Result<String, String> {
    let number = getrandom::u64().and_then(|high| Ok((high, getrandom::u64()?)));
    let (high, low) = number.map_err(|error| format!("no random numbers for a name: {error}"))?;
    Ok(format!("{high:016x}{low:016x}"))
}

/// `NAME=VALUE`, or `NAME` for ours.
pub(super) fn variable(text: &str) -> Result<(String, String), String> {
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name, value.to_owned()),
        None => match std::env::var(text) {
            Ok(value) => (text, value),
            Err(std::env::VarError::NotPresent) => {
                return Err(format!("there is no {text} in our own environment: give {text}=VALUE"));
            }
            Err(std::env::VarError::NotUnicode(_)) => {
                return Err(format!("our own {text} is no text: give {text}=VALUE"));
            }
        },
    };
    if name.is_empty() { Err("give NAME=VALUE, or NAME".to_owned()) } else { Ok((name.to_owned(), value)) }
}

fn some_seconds(text: &str) -> Result<Duration, String> {
    match seconds(text)? {
        none if none.as_millis() == 0 => Err("give more than 0 seconds, or leave it out".to_owned()),
        some => Ok(some),
    }
}

fn whole_seconds(time: Duration) -> u32 {
    u32::try_from(time.as_secs()).unwrap_or(u32::MAX)
}
