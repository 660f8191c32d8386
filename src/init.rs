//! What the agent does to its own process before anything else: signals it answers, descriptors it may open, when it is
//! killed for memory.

pub(crate) mod foreground;
pub(crate) mod mounts;
pub(crate) mod plain;
pub(crate) mod reaper;
pub(crate) mod secrets;
pub(crate) mod sys;

use std::fs;
use std::future::poll_fn;
use std::io;
use std::task::Poll;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::geteuid;
use pid1_sdk::process::{Ignored, SignalNumber};
use tokio::signal::unix::{Signal as Listener, SignalKind, signal};
use tracing::debug;

/// Where a process says how soon it is killed when memory runs out: -1000 for never, up to 1000.
const OOM_SCORE: &str = "/proc/self/oom_score_adj";

/// After everything else; not never, should it be the agent itself that eats the memory.
const OOM_SCORE_OF_THE_AGENT: i32 = -900;

/// A program's score is above the agent's by so much at least: a tenth of all memory, more than the agent ever takes.
const OOM_SCORE_STEP: i32 = 100;

const OOM_SCORE_MAX: i32 = 1000;

/// The signals that end the agent in order.
pub(crate) struct Ending {
    term: Listener,
    int: Listener,
    /// The terminal it runs in was closed; `None` if whoever started it wants it to survive that.
    hangup: Option<Listener>,
}

impl Ending {
    /// From here on these signals do not kill the agent. Needs the runtime that will wait. Whether a hangup ends it is
    /// for the main command to say, if there is one.
    pub(crate) fn watch(hangup_ends: bool) -> io::Result<Self> {
        let hangup = if ignored().has(Signal::SIGHUP) || !hangup_ends {
            None
        } else {
            Some(signal(SignalKind::hangup())?)
        };
        Ok(Ending { term: signal(SignalKind::terminate())?, int: signal(SignalKind::interrupt())?, hangup })
    }

    /// Waits for one of them; its name.
    pub(crate) async fn wait(&mut self) -> &'static str {
        tokio::select! {
            _ = self.term.recv() => "SIGTERM",
            _ = self.int.recv() => "SIGINT",
            _ = async { self.hangup.as_mut()?.recv().await }, if self.hangup.is_some() => "SIGHUP",
        }
    }
}

/// As process 1, signals wait from here on until somebody hears them: the kernel drops what process 1 has no handler
/// for, and a container may be told to end while it begins.
pub(crate) fn hold_signals() -> io::Result<()> {
    if std::process::id() == 1 { Ok(SigSet::all().thread_block()?) } else { Ok(()) }
}

/// Signals that are for the main command alone.
pub(crate) struct Forwarded(Vec<(SignalNumber, Listener)>);

impl Forwarded {
    /// From here on they do nothing to the agent.
    pub(crate) fn watch() -> io::Result<Self> {
        let signals = [
            Signal::SIGHUP,
            Signal::SIGQUIT,
            Signal::SIGUSR1,
            Signal::SIGUSR2,
            Signal::SIGALRM,
            Signal::SIGCONT,
            Signal::SIGURG,
            Signal::SIGVTALRM,
            Signal::SIGPROF,
            Signal::SIGWINCH,
            Signal::SIGIO,
            Signal::SIGPWR,
        ];
        // Others would be stopped by them, with all their clients; process 1 gets them from those who mean its command.
        let stops = [Signal::SIGTSTP, Signal::SIGTTIN, Signal::SIGTTOU, Signal::SIGABRT];
        let stops = stops.into_iter().filter(|_| std::process::id() == 1);
        let real_time = SignalNumber::real_time().filter_map(SignalNumber::new);
        let wanted = signals.into_iter().chain(stops).map(SignalNumber::from).chain(real_time);
        let ignored = ignored();
        let watched = wanted.filter(|wanted| !ignored.has(*wanted));
        let watched = watched.map(|wanted| Ok((wanted, signal(SignalKind::from_raw(wanted.get()))?)));
        watched.collect::<io::Result<_>>().map(Forwarded)
    }

    /// Waits for one of them.
    pub(crate) async fn next(&mut self) -> SignalNumber {
        poll_fn(|cx| {
            let mut watched = self.0.iter_mut();
            let came = watched.find_map(|(it, stream)| stream.poll_recv(cx).is_ready().then_some(*it));
            came.map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }
}

/// What whoever started this process wants it to survive, as `nohup` does. Handling it would undo that.
pub(crate) fn ignored() -> Ignored {
    Ignored::by(std::process::id())
}

/// Raises the agent's own limit of open descriptors as far as it may: each client is one, each terminal too. Gives
/// back what programs shall see, which is what the agent was given.
pub(crate) fn raise_descriptor_limit() -> io::Result<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft < hard {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    }
    Ok(soft)
}

/// Where the length of files is limited, to write beyond fails from here on, and does not kill the agent. Programs have
/// the signal as always. Needs a runtime.
pub(crate) fn outlive_file_limit() -> io::Result<()> {
    // Who listens once has a handler for good.
    signal(SignalKind::from_raw(Signal::SIGXFSZ as i32)).map(drop)
}

/// When memory runs out, programs are killed first, and the agent last: without it nobody could reach the container any
/// more. Gives back the score of programs, which is what the agent was given, or a step above what it has.
pub(crate) fn outlast_programs() -> Option<i32> {
    let score = || fs::read_to_string(OOM_SCORE).ok()?.trim().parse::<i32>().ok();
    let given = score()?;
    let may_try = std::process::id() == 1 || geteuid().is_root();
    if may_try
        && given > OOM_SCORE_OF_THE_AGENT
        && let Err(error) = fs::write(OOM_SCORE, OOM_SCORE_OF_THE_AGENT.to_string())
    {
        debug!(error = %error, "the agent's score stays: only CAP_SYS_RESOURCE lowers it");
    }
    Some(given.max(score()? + OOM_SCORE_STEP).min(OOM_SCORE_MAX))
}
