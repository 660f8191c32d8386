//! `pid1 attach`: our terminal on a program where an agent is, which runs on when we leave and is there when we come
//! back.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use pid1_sdk::api::{ProcessStart, process_attach::Target};
use pid1_sdk::error::printable;

use super::agents::AgentArgs;
use super::console::{self, Console, EXIT_NO_AGENT};
use super::detach::DetachKeys;
use super::exec::{random_name, variable, window};
use super::{EXIT_FAILED, fail};
use crate::client::{Program, Wanted};
use crate::config::seconds;
use crate::terminal::{self, RawMode};

#[derive(Args)]
pub(super) struct AttachArgs {
    /// The agent: the URL it printed, wss://HOST:PORT/wsv2/TOKEN, or unix:PATH of its socket on this machine
    // Parsed later: an error of clap's would show the token.
    #[arg(env = "PID1_URL", hide_env_values = true)]
    url: String,

    #[command(flatten)]
    agent: AgentArgs,

    /// The terminal's name: who attaches to the same name shares it, and finds it again later
    #[arg(short, long, env = "PID1_ATTACH_NAME", default_value = "terminal",
          value_parser = clap::builder::NonEmptyStringValueParser::new())]
    name: String,

    /// Follow a program that anybody started, by the agent's number for it
    #[arg(long, env = "PID1_ATTACH_ID", conflicts_with = "command")]
    id: Option<u64>,

    /// Follow a program that anybody started, by its pid in the container
    #[arg(long, env = "PID1_ATTACH_PID", conflicts_with_all = ["command", "id"])]
    pid: Option<i32>,

    /// Follow a program that anybody started, by the name it was given: that of a session of ExecService, or the exec_id of TaskCommandRouter
    #[arg(long, env = "PID1_ATTACH_EXEC", value_name = "SESSION", conflicts_with_all = ["command", "id", "pid"])]
    exec: Option<String>,

    /// Keys that leave the program running: characters and ctrl-X with commas between them; empty for none. A key that
    /// begins them is held for a moment, and sent on if the rest does not follow
    #[arg(long, env = "PID1_DETACH_KEYS", value_name = "KEYS", default_value = "ctrl-p,ctrl-q")]
    detach_keys: DetachKeys,

    /// Set a variable for a program that is started, or with NAME alone pass ours on; may be repeated
    #[arg(short, long = "env", env = "PID1_ATTACH_ENV", value_name = "NAME=VALUE", value_parser = variable)]
    env: Vec<(String, String)>,

    /// Where a program that is started starts; from the workspace if relative [default: the workspace]
    #[arg(short = 'w', long, env = "PID1_ATTACH_CWD", value_name = "DIR")]
    cwd: Option<String>,

    /// Who a program that is started runs as, as docker's --user has it: NAME, UID, NAME:GROUP, UID:GID [default: the
    /// agent's own]
    #[arg(short, long, env = "PID1_ATTACH_USER", value_name = "USER")]
    user: Option<String>,

    /// How long a program that is started runs on with nobody attached, in seconds [default: as long as it likes]
    #[arg(long, env = "PID1_ATTACH_KEEP", value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..))]
    keep: Option<u32>,

    /// How long a lost connection is tried again, in seconds [default: until you leave]
    #[arg(long, env = "PID1_ATTACH_RECONNECT", value_name = "SECONDS", value_parser = seconds)]
    reconnect: Option<Duration>,

    /// What to run if the terminal is not there yet [default: the container's shell]
    #[arg(last = true, value_name = "CMD")]
    command: Vec<String>,
}

pub(super) fn run(args: AttachArgs) -> ExitCode {
    let prepared = args.agent.at(&args.url).map_err(|error| error.to_string());
    let prepared = prepared.and_then(|address| Ok((address, random_name()?)));
    let (address, writer) = match prepared {
        Ok(prepared) => prepared,
        Err(error) => return fail(&error, EXIT_NO_AGENT),
    };
    if !terminal::is_terminal() {
        return fail(
            "attach needs a terminal on stdin; to run a command without one, use pid1 exec",
            EXIT_FAILED,
        );
    }
    let other = args.id.map(Target::Id).or(args.pid.map(Target::Pid)).or(args.exec.map(Target::Name));
    let (channel, program, come_back) = match other {
        // A channel of our own: it only keeps our place.
        Some(target) => {
            let flag = match &target {
                Target::Id(id) => format!("--id {id}"),
                Target::Pid(pid) => format!("--pid {pid}"),
                Target::Name(name) => format!("--exec {}", printable(name)),
            };
            let come_back = format!("the program runs on: pid1 attach {flag}");
            (format!("attach-{writer}"), Program::Running(target), come_back)
        }
        None => {
            let mut env = terminal::environment();
            env.extend(args.env);
            let start = ProcessStart {
                args: args.command,
                env: env.into_iter().collect(),
                cwd: args.cwd.unwrap_or_default(),
                user: args.user.unwrap_or_default(),
                terminal: Some(window()),
                keep_seconds: args.keep.unwrap_or(u32::MAX),
                ..ProcessStart::default()
            };
            let come_back = format!("the program runs on: pid1 attach --name {}", args.name);
            (args.name, Program::Start(Box::new(start)), come_back)
        }
    };
    let wanted = Wanted { channel, program, writer, shared: true, patience: args.reconnect };
    let raw = match RawMode::enter() {
        Ok(raw) => Some(raw),
        Err(error) => return fail(&format!("cannot use this terminal: {error}"), EXIT_NO_AGENT),
    };
    let keys = Some(args.detach_keys);
    let console = Console { raw, keys, come_back, ..Console::default() };
    console::run(address, wanted, console, |_| None)
}
