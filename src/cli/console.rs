//! Between a program elsewhere and the person or the pipes here: keys and stdin there, output here, signals and window
//! sizes passed on. `exec` and `attach` differ in what they ask for.

use std::cell::Cell;
use std::future::{pending, poll_fn};
use std::io;
use std::process::ExitCode;
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use nix::sys::signal::{Signal, raise};
use pid1_sdk::api::{ProcessExited, process_exited::Status};
use tokio::io::AsyncReadExt;
use tokio::signal::unix::{Signal as Listener, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::detach::{DetachKeys, Detector, HOLD};
use super::show::Shown;
use crate::client::{Address, ClientError, Controls, End, Event, Leave, Remote, Wanted};
use crate::init::ignored;
use crate::terminal::{self, RawMode};

/// What shells and ssh use for "the other side could not be reached".
pub(super) const EXIT_NO_AGENT: u8 = 255;

/// The command was not found, as shells say it.
const EXIT_NOT_FOUND: u8 = 127;

/// The command was found and cannot be run, as shells say it.
const EXIT_NOT_RUN: u8 = 126;

/// Added to the number of a signal, as shells do.
const EXIT_SIGNAL: i32 = 128;

/// Input read in one go.
const CHUNK_BYTES: usize = 64 << 10;

/// How long a stop waits until the program has been told of it.
const STOP_PATIENCE: Duration = Duration::from_secs(1);

/// How long leaving waits for our own output and for the agent's farewell.
const LEAVE_PATIENCE: Duration = Duration::from_secs(3);

/// A reader of our output who took nothing for so long stands still.
const STUCK: Duration = Duration::from_secs(1);

/// The key that leaves while the connection is lost, whatever the detach keys are.
const CTRL_C: u8 = 0x03;

/// Signals that are somebody's wish to tell the program something, or to end it.
const WISHES: [Signal; 6] =
    [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM, Signal::SIGUSR1, Signal::SIGUSR2];

/// What the local side is like.
#[derive(Debug, Default)]
pub(super) struct Console {
    /// Our terminal, if a terminal there is on it.
    pub(super) raw: Option<RawMode>,
    /// Keys that leave.
    pub(super) keys: Option<DetachKeys>,
    /// Signals are for the program; else they mean that we are to leave it.
    pub(super) forwards: bool,
    /// Every byte of output is wanted; else a gap is only told.
    pub(super) exact: bool,
    /// How to come back after leaving.
    pub(super) come_back: String,
    /// Stdin is not ours to read.
    pub(super) no_input: bool,
    /// Since when a piece of output has been on its way to our own reader.
    pub(super) writing: Cell<Option<Instant>>,
}

/// How it ended, for the local side.
#[derive(Debug)]
pub(super) enum Ended {
    /// With the program.
    Program(ProcessExited),
    /// By the detach keys.
    Detached,
    /// By a signal that told us to leave.
    Signal(i32),
}

/// Follows a program to its end with a runtime of its own; the exit status, `ended` permitting.
pub(super) fn run(
    address: Address,
    wanted: Wanted,
    console: Console,
    ended: impl FnOnce(&Ended) -> Option<ExitCode>,
) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return super::fail(&error.to_string(), EXIT_NO_AGENT),
    };
    let (remote, controls, events) = Remote::new(address, wanted);
    let result = runtime.block_on(console.drive(remote, controls, events));
    let come_back = console.come_back.clone();
    // The terminal is as it was before anything is said.
    let was_raw = console.raw.is_some();
    drop(console);
    // A read of stdin that nobody needs any more must not keep us.
    runtime.shutdown_background();
    if was_raw && !matches!(result, Ok(Ended::Program(_))) {
        new_line();
    }
    match result {
        Ok(end) => ended(&end).unwrap_or_else(|| match end {
            Ended::Program(exited) => ExitCode::from(status(&exited)),
            Ended::Detached => {
                say(&format!("detached; {come_back}"));
                ExitCode::SUCCESS
            }
            Ended::Signal(number) => ExitCode::from(number_to_status(EXIT_SIGNAL + number)),
        }),
        Err(ClientError::NotStarted(error)) => {
            // The text is all that the protocol carries; of the folder, `chdir` speaks.
            let missing = error.contains("not found") || error.contains("no such file");
            let status = if missing && error.starts_with("exec:") { EXIT_NOT_FOUND } else { EXIT_NOT_RUN };
            super::fail(&error, status)
        }
        Err(error) => super::fail(&error.to_string(), EXIT_NO_AGENT),
    }
}

impl Console {
    async fn drive(
        &self,
        remote: Remote,
        controls: Controls,
        events: mpsc::Receiver<Event>,
    ) -> Result<Ended, ClientError> {
        let unheard = |error: io::Error| ClientError::Lost(format!("no signals: {error}"));
        let mut signals = watch().map_err(unheard)?;
        terminal::hear_signals().map_err(unheard)?;
        if self.raw.is_some()
            && let Some((rows, cols)) = terminal::size()
        {
            controls.resize(rows, cols);
        }
        let follow = async {
            let (end, shown) = tokio::join!(remote.run(), self.show(events, &controls));
            match shown {
                // A program run here would have been told by SIGPIPE.
                Ok(Shown::Broken) => Ok(Ended::Signal(Signal::SIGPIPE as i32)),
                Err(error) => Err(error),
                Ok(Shown::All) => end.map(|end| match end {
                    End::Exited(exited) => Ended::Program(exited),
                    End::Left => Ended::Detached,
                }),
            }
        };
        tokio::pin!(follow);
        let how = tokio::select! {
            end = &mut follow => return end,
            how = self.type_in(&controls) => how,
            how = self.obey(&mut signals, &controls) => how,
        };
        // A command that nobody can come back to is not left behind.
        let stays = matches!(how, Ended::Detached) || !self.forwards;
        controls.leave(if stays { Leave::Detach } else { Leave::Close });
        // Whoever wants to leave is not kept by a reader of our output who stands still.
        match timeout(LEAVE_PATIENCE, follow).await {
            Ok(Ok(Ended::Detached)) | Err(_) => Ok(how),
            Ok(other) => other,
        }
    }

    /// Sends what is typed, to its end; returns when the person has typed that it wants to leave.
    async fn type_in(&self, controls: &Controls) -> Ended {
        if self.no_input || (self.raw.is_none() && terminal::in_background()) {
            controls.end_input();
            return pending().await;
        }
        let mut stdin = tokio::io::stdin();
        let mut detector = self.keys.clone().map(Detector::new);
        loop {
            controls.room().await;
            let mut typed = BytesMut::with_capacity(CHUNK_BYTES);
            let holds = detector.as_ref().is_some_and(Detector::holds);
            let read = tokio::select! {
                read = stdin.read_buf(&mut typed) => read,
                () = tokio::time::sleep(HOLD), if holds => {
                    let held = detector.as_mut().map(Detector::release).unwrap_or_default();
                    controls.type_in(held.into());
                    continue;
                }
            };
            if !matches!(read, Ok(1..)) {
                if self.raw.is_some() {
                    // The window was closed. Not the end of the input: others may type on.
                    return Ended::Signal(Signal::SIGHUP as i32);
                }
                controls.end_input();
                // The program's end is the end, not ours.
                return pending().await;
            }
            if self.raw.is_some() && typed.contains(&CTRL_C) {
                if !controls.started() || (controls.away() && self.forwards) {
                    return Ended::Signal(Signal::SIGINT as i32);
                }
                if controls.away() {
                    return Ended::Detached;
                }
            }
            let Some(detector) = &mut detector else {
                controls.type_in(typed.freeze());
                continue;
            };
            let mut sent = Vec::with_capacity(typed.len());
            let leaves = detector.typed(&typed, &mut sent);
            controls.type_in(Bytes::from(sent));
            if leaves {
                return Ended::Detached;
            }
        }
    }

    /// Does what signals ask for; returns when one tells us to leave.
    async fn obey(&self, streams: &mut [(Signal, Listener)], controls: &Controls) -> Ended {
        loop {
            let next = poll_fn(|cx| {
                let mut streams = streams.iter_mut();
                let ready =
                    streams.find_map(|(wish, stream)| stream.poll_recv(cx).is_ready().then_some(*wish));
                ready.map_or(Poll::Pending, Poll::Ready)
            });
            match next.await {
                Signal::SIGWINCH => self.resize(controls),
                Signal::SIGTSTP => self.stop(controls).await,
                Signal::SIGCONT => match &self.raw {
                    Some(raw) => {
                        let _ = raw.again();
                        self.resize(controls);
                        self.redraw(controls);
                    }
                    None => controls.signal(Signal::SIGCONT as i32),
                },
                wish if self.forwards && controls.started() && !controls.away() => {
                    controls.signal(wish as i32);
                    // A command run here would be ended while it waits for its reader. Ours has ended, perhaps, and
                    // it is we who wait.
                    let ends = !matches!(wish, Signal::SIGUSR1 | Signal::SIGUSR2);
                    if ends && self.writing.get().is_some_and(|since| since.elapsed() > STUCK) {
                        return Ended::Signal(wish as i32);
                    }
                }
                wish => return Ended::Signal(wish as i32),
            }
        }
    }

    /// Stops as the person wants it. A terminal's program runs on; one with pipes stops, too.
    async fn stop(&self, controls: &Controls) {
        match &self.raw {
            Some(raw) => raw.restore(),
            None => {
                controls.signal(Signal::SIGTSTP as i32);
                let _ = timeout(STOP_PATIENCE, controls.signals_delivered()).await;
            }
        }
        let _ = raise(Signal::SIGSTOP);
    }

    fn resize(&self, controls: &Controls) {
        if let Some((rows, cols)) = terminal::size().filter(|_| self.raw.is_some()) {
            controls.resize(rows, cols);
        }
    }
}

/// Listens for all that we answer; what whoever started us wants ignored, as `nohup` does, stays ignored.
fn watch() -> io::Result<Vec<(Signal, Listener)>> {
    let others = [Signal::SIGTSTP, Signal::SIGCONT, Signal::SIGWINCH];
    let ignored = ignored();
    let watched = WISHES.into_iter().chain(others).filter(|wish| !ignored.has(*wish));
    watched.map(|wish| Ok((wish, signal(SignalKind::from_raw(wish as i32))?))).collect()
}

/// Tells the person something, on a line of its own.
pub(super) fn say(text: &str) {
    super::to_stderr(&format!("pid1: {text}\n"));
}

/// The program may have left the cursor in the middle of a line.
fn new_line() {
    super::to_stderr("\n");
}

/// As [`say`], on a terminal that is raw and may be in the middle of a line.
pub(super) fn say_raw(text: &str) {
    super::to_stderr(&format!("\r\npid1: {text}\r\n"));
}

/// The exit status that stands for a program's; says it if there is none.
pub(super) fn status(exited: &ProcessExited) -> u8 {
    match exited.status {
        Some(Status::Code(code)) => number_to_status(code),
        Some(Status::Signal(signal)) => number_to_status(EXIT_SIGNAL + signal),
        None => {
            say("nobody can know how the program ended: it has no exit status");
            EXIT_NO_AGENT
        }
    }
}

fn number_to_status(number: i32) -> u8 {
    u8::try_from(number).unwrap_or(EXIT_NO_AGENT)
}
