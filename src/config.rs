//! What `pid1 serve` is told: flags, environment and file, read once and checked before anything runs.

mod access;
pub mod file;
mod tls;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::builder::BoolishValueParser;
use clap::{Args, ValueEnum};
use hyper::http::Uri;
use pid1_sdk::limits;
use pid1_sdk::workspace::HIDDEN;

use crate::agent::state::{default_dir, real_path};
use crate::auth::{Auth, Secret};
use crate::door::{DoorConfig, Guard, NetworkMode};
use crate::secrets::Secrets;
use access::AccessArgs;
pub(crate) use tls::Certificate;
use tls::TlsArgs;

/// Flags of `pid1 serve`. Each has an environment variable, so that a container image can set it.
#[derive(Args, Clone, Debug)]
pub struct ServeArgs {
    /// A file with these settings, each named as its flag [default: /etc/pid1.toml, if there is one]
    #[arg(long, env = "PID1_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,

    /// The workspace: where programs start [default: the current folder]
    #[arg(long, env = "PID1_ROOT", value_name = "DIR")]
    root: Option<PathBuf>,

    /// Where to listen; beyond this machine only with a token or keys of your own
    #[arg(long, env = "PID1_LISTEN", value_name = "ADDR", default_value = "127.0.0.1:4560")]
    listen: SocketAddr,

    /// A host name that clients may use for this agent, besides IP addresses and localhost; may be repeated
    #[arg(long = "host", env = "PID1_HOST", value_name = "NAME", value_delimiter = ',')]
    hosts: Vec<String>,

    /// A web origin whose pages may connect, such as `https://ide.example.com`; may be repeated
    #[arg(long = "origin", env = "PID1_ORIGIN", value_name = "ORIGIN", value_delimiter = ',')]
    origins: Vec<String>,

    /// What TerminalAPI runs, as its clients say it; with a `*` at the end, whatever begins so; may be repeated [default:
    /// everything]
    #[arg(
        long = "terminal-command",
        env = "PID1_TERMINAL_COMMAND",
        value_name = "NAME",
        value_delimiter = ','
    )]
    terminal_commands: Vec<String>,

    /// A file of variables that TaskCommandRouter's clients name: TOML, a table for each name, read again whenever one is
    /// asked for
    #[arg(long, env = "PID1_SECRETS", value_name = "FILE")]
    secrets: Option<PathBuf>,

    /// Where the agent keeps what must outlive it [default: /var/lib/pid1 for root, else below your state folder]
    #[arg(long, env = "PID1_STATE_DIR", value_name = "DIR")]
    state_dir: Option<PathBuf>,

    /// A variable of the agent's environment that programs must not see; may be repeated
    #[arg(long = "secret-env", env = "PID1_SECRET_ENV", value_name = "NAME", value_delimiter = ',')]
    pub(crate) secret_env: Vec<String>,

    /// Programs, and what they start, gain no rights by executing a file: setuid bits and file capabilities do nothing
    #[arg(long, env = "PID1_NO_NEW_PRIVS", value_parser = BoolishValueParser::new())]
    no_new_privs: bool,

    /// Acknowledge a change of a file only when it is on disk. Without it what was acknowledged outlives the agent, but not
    /// a loss of power
    #[arg(long, env = "PID1_FSYNC", value_parser = BoolishValueParser::new())]
    fsync: bool,

    /// How long after a change a document is written to its file, in seconds, if no client asks for it earlier
    #[arg(long, env = "PID1_AUTOSAVE", value_name = "SECONDS", value_parser = positive_seconds, default_value = "1")]
    autosave: Duration,

    /// How long a named shell runs on with nobody attached, in seconds [default: as long as it likes]
    #[arg(long, env = "PID1_KEEP_SHELLS", value_name = "SECONDS", value_parser = seconds)]
    keep_shells: Option<Duration>,

    /// From asking a program to end until it is killed, in seconds
    #[arg(long, env = "PID1_STOP_GRACE", value_name = "SECONDS", value_parser = seconds, default_value = "5")]
    stop_grace: Duration,

    /// How often a quiet client is pinged, in seconds; one silent for twice as long is dropped
    #[arg(long, env = "PID1_PING_INTERVAL", value_name = "SECONDS", value_parser = positive_seconds,
          default_value = "30")]
    ping_interval: Duration,

    /// How long a client that asked for much may take nothing, in seconds
    #[arg(long, env = "PID1_STALL_TIMEOUT", value_name = "SECONDS", value_parser = positive_seconds,
          default_value = "10")]
    stall_timeout: Duration,

    /// How long a file's way in or out over HTTP may stand still, in seconds
    #[arg(long, env = "PID1_TRANSFER_TIMEOUT", value_name = "SECONDS", value_parser = positive_seconds,
          default_value = "60")]
    transfer_timeout: Duration,

    /// From a connection to its complete request, in seconds
    #[arg(long, env = "PID1_HEAD_TIMEOUT", value_name = "SECONDS", value_parser = positive_seconds,
          default_value = "10")]
    head_timeout: Duration,

    /// Largest message a client may send, in MiB
    #[arg(long, env = "PID1_MAX_MESSAGE", value_name = "MIB", value_parser = clap::value_parser!(u32).range(1..=1024),
          default_value_t = (limits::MAX_MESSAGE_BYTES >> 20) as u32)]
    max_message: u32,

    /// Programs that may run at once
    #[arg(long, env = "PID1_MAX_PROCESSES", value_name = "N", default_value_t = limits::MAX_PROCESSES)]
    max_processes: usize,

    /// Folders that may be watched for changes with inotify; others are listed every few seconds [default: half of
    /// fs.inotify.max_user_watches]
    #[arg(long, env = "PID1_MAX_WATCHES", value_name = "N")]
    max_watches: Option<usize>,

    /// Threads that serve clients; more than one pays only with many busy clients
    #[arg(long, env = "PID1_THREADS", value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64),
          default_value = "1")]
    threads: u16,

    /// Whether programs here can reach the network, for tokens that are good only where they cannot: `open` refuses
    /// those, `restricted` says that the platform cuts this container off, `first` lets the first client decide
    #[arg(long, env = "PID1_NETWORK", value_name = "MODE", default_value = "first")]
    network: NetworkMode,

    /// Where this container lives now: clients are sent there (ws:// or wss://), and served here until they go
    #[arg(long, env = "PID1_MOVED_TO", value_name = "URL", value_parser = websocket_url)]
    moved_to: Option<String>,

    /// As process 1, mount nothing: neither /proc, /dev, /dev/pts, /dev/shm, /tmp nor /run, where they are missing
    #[arg(long, env = "PID1_NO_MOUNTS", value_parser = BoolishValueParser::new())]
    pub(crate) no_mounts: bool,

    /// Run on when the main command has ended
    #[arg(long, env = "PID1_KEEP", value_parser = BoolishValueParser::new())]
    keep: bool,

    /// The main command, run beside the agent: its end is the agent's end, its exit status the agent's
    #[arg(last = true, value_name = "CMD")]
    main_command: Vec<OsString>,

    #[command(flatten)]
    pub(crate) access: AccessArgs,

    #[command(flatten)]
    tls: TlsArgs,

    #[command(flatten)]
    pub(crate) log: LogArgs,
}

/// How to log.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Logging")]
pub struct LogArgs {
    /// How log lines look
    #[arg(long, env = "PID1_LOG_FORMAT", value_name = "FORMAT", default_value = "pretty")]
    pub(crate) log_format: LogFormat,

    /// What is logged: error, warn, info, debug, or directives such as pid1=debug,info
    #[arg(long, env = "PID1_LOG", value_name = "FILTER", default_value = "info")]
    pub(crate) log: String,
}

/// Forms of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people; with colours on a terminal.
    Pretty,
    /// One JSON object a line, for machines.
    Json,
}

fn websocket_url(text: &str) -> Result<String, String> {
    // Clients fail on a URL that they cannot read, and cannot come back.
    let wrong = || "write it as ws://HOST:PORT or wss://HOST:PORT".to_owned();
    let url: Uri = text.parse().map_err(|_| wrong())?;
    let authority = url.authority().filter(|authority| !authority.host().is_empty());
    let authority = authority.filter(|authority| !authority.as_str().contains('@')).ok_or_else(wrong)?;
    // A port that is no number counts as none.
    let has_port = authority
        .as_str()
        .rsplit_once(':')
        .is_some_and(|(host, _)| !host.contains(':') || host.ends_with(']'));
    match url.scheme_str() {
        Some("ws" | "wss") if authority.port_u16().is_some() == has_port => Ok(text.to_owned()),
        _ => Err(wrong()),
    }
}

/// Longer spans of time are mistakes, and cannot be added to every time.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// A span of time as people give it to any flag.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    let number: f64 = text.parse().map_err(|_| "give a number of seconds, such as 2.5".to_owned())?;
    let time = Duration::try_from_secs_f64(number).ok().filter(|time| *time <= LONGEST);
    time.ok_or_else(|| format!("give 0 to {} seconds, which is a year", LONGEST.as_secs()))
}

fn positive_seconds(text: &str) -> Result<Duration, String> {
    match seconds(text)? {
        Duration::ZERO => Err("must be more than 0".to_owned()),
        positive => Ok(positive),
    }
}

/// The entries of a list as people write them, with blanks; an empty one would be the missing header.
fn named(list: Vec<String>) -> Vec<String> {
    let trimmed = list.into_iter().map(|entry| entry.trim().to_owned());
    trimmed.filter(|entry| !entry.is_empty()).collect()
}

/// Everything that `serve` needs to know, checked.
#[derive(Debug)]
pub struct Config {
    pub(crate) root: PathBuf,
    pub(crate) listen: SocketAddr,
    pub(crate) auth: Auth,
    /// A secret that nobody but the agent knows yet.
    pub(crate) generated_token: Option<Secret>,
    pub(crate) state_dir: PathBuf,
    pub(crate) no_new_privs: bool,
    pub(crate) fsync: bool,
    pub(crate) environment: Vec<(OsString, OsString)>,
    pub(crate) keep_shells: Option<Duration>,
    pub(crate) autosave: Duration,
    pub(crate) stop_grace: Duration,
    pub(crate) max_processes: usize,
    pub(crate) max_watches: Option<usize>,
    pub(crate) threads: u16,
    pub(crate) main_command: Vec<OsString>,
    pub(crate) keep: bool,
    pub(crate) certificate: Option<Certificate>,
    /// Whoever is the same user needs no token on the local socket.
    pub(crate) trust_local: bool,
    pub(crate) door: DoorConfig,
}

impl Config {
    /// Checks the flags. Reads the token file, finds the root and the state folder; changes nothing.
    pub fn from_args(args: ServeArgs) -> Result<Config> {
        let root = args.root.unwrap_or_else(|| PathBuf::from("."));
        let root = root.canonicalize().with_context(|| format!("cannot use --root {}", root.display()))?;
        if !root.is_dir() {
            bail!("cannot use --root {}: it is not a folder", root.display());
        }
        let trust_local = args.access.trust_local;
        let (auth, generated_token) = args.access.auth(args.listen)?;
        let cleartext = args.tls.cleartext;
        let certificate = args.tls.certificate()?;
        let state_dir = match args.state_dir {
            Some(dir) => {
                let whole = std::path::absolute(&dir);
                real_path(&whole.with_context(|| format!("cannot use --state-dir {}", dir.display()))?)
            }
            None => match default_dir(&root)? {
                // Whoever serves his home folder, or the whole machine.
                inside if inside.starts_with(&root) => root.join(HIDDEN),
                outside => outside,
            },
        };
        if state_dir.starts_with(&root) && state_dir != root.join(HIDDEN) {
            bail!(
                "the state folder {} is inside the workspace {}, where clients could change it: choose another with \
                 --state-dir (only {HIDDEN} at the top of the workspace is hidden from them)",
                state_dir.display(),
                root.display()
            );
        }
        let secrets = args.secrets.map(std::path::absolute).transpose().context("cannot use --secrets")?;
        let secrets = Secrets::of(secrets).context("cannot use --secrets")?;
        let hidden = |name: &OsString| {
            name.to_str()
                .is_some_and(|name| name.starts_with("PID1_") || args.secret_env.iter().any(|s| s == name))
        };
        Ok(Config {
            environment: std::env::vars_os().filter(|(name, _)| !hidden(name)).collect(),
            root,
            listen: args.listen,
            auth,
            generated_token,
            state_dir,
            no_new_privs: args.no_new_privs,
            fsync: args.fsync,
            keep_shells: args.keep_shells,
            autosave: args.autosave,
            stop_grace: args.stop_grace,
            max_processes: args.max_processes,
            max_watches: args.max_watches,
            threads: args.threads,
            main_command: args.main_command,
            keep: args.keep,
            certificate,
            trust_local,
            door: DoorConfig {
                guard: Guard { hosts: named(args.hosts), origins: named(args.origins) },
                max_message_bytes: (args.max_message as usize) << 20,
                head_timeout: args.head_timeout,
                ping_interval: args.ping_interval,
                stall_timeout: args.stall_timeout,
                transfer_timeout: args.transfer_timeout,
                network: args.network,
                moved_to: args.moved_to,
                cleartext,
                terminal_commands: named(args.terminal_commands),
                secrets,
            },
        })
    }
}
