//! The init without an agent: one program, all signals to it, all orphans reaped, its status is ours.
//!
//! One thread and one blocking read: nothing happens here unless a signal comes. What it deliberately does not do: end
//! or restart anything by itself; as process 1 the kernel ends whatever is left.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, Write as _};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use pid1_sdk::process::{StartError, heir};
use rustix::process::{WaitOptions, WaitStatus};

use super::foreground::{Foreground, Place};

/// The init could not do its work.
const EXIT_FAILED: u8 = 1;

/// What is said at which `verbosity`; what ends the init is always said.
const WARNING: u8 = 1;
const INFO: u8 = 2;
const DEBUG: u8 = 3;

/// What an init is asked to do.
pub(crate) struct Options {
    /// The program and its arguments.
    pub(crate) command: Vec<OsString>,
    /// Where it stands; the rules about stopping follow from that.
    pub(crate) place: Place,
    /// Signals go to its whole group.
    pub(crate) whole_group: bool,
    /// Orphans below us come to us although we are not process 1.
    pub(crate) subreaper: bool,
    /// What we get when our parent ends.
    pub(crate) parent_death: Option<Signal>,
    /// Statuses of the program that become 0.
    pub(crate) remapped: Vec<u8>,
    /// What is sent instead of a signal; 0 for nothing.
    pub(crate) rewritten: BTreeMap<i32, i32>,
    /// How much is said on stderr.
    pub(crate) verbosity: u8,
    /// Each orphan that is reaped is worth a warning.
    pub(crate) warn_on_reap: bool,
}

/// Signals that came before the program was there wait for it from here on.
pub(crate) struct Held {
    before: SigSet,
}

impl Held {
    /// Blocks all signals: they are read, so that even process 1 gets those that it has no handler for.
    pub(crate) fn all() -> Result<Held> {
        let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK);
        Ok(Held { before: before.context("cannot block signals")? })
    }
}

/// Runs the program to its end; the exit status for us.
pub(crate) fn run(options: Options, held: &Held) -> u8 {
    let ran = Init::start(options, held).and_then(Init::serve);
    ran.unwrap_or_else(|error| {
        say(&format!("{error:#}"));
        let refused = error.downcast_ref::<StartError>().map(StartError::shell_code);
        refused.and_then(|code| u8::try_from(code).ok()).unwrap_or(EXIT_FAILED)
    })
}

struct Init {
    options: Options,
    signals: SignalFd,
    child: i32,
    foreground: Foreground,
    /// It was stopped on purpose, by a signal that came through us.
    told_to_stop: bool,
}

impl Init {
    fn start(options: Options, held: &Held) -> Result<Init> {
        heir::keep_dead_children().context("cannot take care of children")?;
        if options.subreaper {
            prctl::set_child_subreaper(true).context("cannot become the subreaper of orphans")?;
        }
        if let Some(signal) = options.parent_death {
            prctl::set_pdeathsig(signal).context("cannot ask for a signal when the parent ends")?;
        }
        let foreground = Foreground::prepare(options.place);
        let signals = SignalFd::with_flags(&SigSet::all(), SfdFlags::SFD_CLOEXEC);
        let signals = signals.context("cannot read signals")?;
        let mut init = Init { options, signals, child: 0, foreground, told_to_stop: false };
        if std::process::id() != 1 && !prctl::get_child_subreaper().unwrap_or(false) {
            init.say(WARNING, || {
                "neither process 1 nor a subreaper (-s): orphans of the command are not reaped here"
                    .to_owned()
            });
        }
        if let Some(reason) = init.foreground.missing {
            init.say(DEBUG, || format!("the command's session has no terminal: {}", reason.desc()));
        }
        let started = heir::spawn(&init.options.command, init.foreground.stand(), &held.before);
        init.child = started.inspect_err(|_| init.foreground.reclaim())?;
        init.say(INFO, || format!("the command runs as process {}", init.child));
        Ok(init)
    }

    fn serve(mut self) -> Result<u8> {
        loop {
            let signal = match self.signals.read_signal() {
                Ok(Some(info)) => info.ssi_signo.cast_signed(),
                Ok(None) | Err(Errno::EINTR) => continue,
                Err(error) => return Err(error).context("cannot read signals"),
            };
            if signal != Signal::SIGCHLD as i32 {
                self.forward(signal);
            } else if let Some(status) = self.reap() {
                return Ok(self.end(status));
            }
        }
    }

    /// Waits for all that ended: one SIGCHLD may stand for many. The program's own status, if it is among them.
    #[expect(clippy::disallowed_methods, reason = "there is no table here: whatever ends is ours to reap")]
    fn reap(&mut self) -> Option<u8> {
        let mut ended = None;
        let mut options = WaitOptions::NOHANG;
        options.set(WaitOptions::UNTRACED, self.foreground.minds_stops());
        // Any error means that there are no children left.
        while let Ok(Some((pid, status))) = rustix::process::wait(options) {
            let pid = pid.as_raw_nonzero().get();
            if pid != self.child {
                if !status.stopped() {
                    self.say_of_orphan(pid, status);
                }
            } else if let Some(signal) = status.stopping_signal() {
                self.stopped(signal);
            } else {
                ended = status_of(status);
            }
        }
        ended
    }

    fn say_of_orphan(&self, pid: i32, status: WaitStatus) {
        let level = if self.options.warn_on_reap { WARNING } else { DEBUG };
        self.say(level, || format!("reaped orphan {pid}, status {}", status_of(status).unwrap_or_default()));
    }

    fn forward(&mut self, signal: i32) {
        let known = Signal::try_from(signal).ok();
        let stops = matches!(known, Some(Signal::SIGTSTP | Signal::SIGTTIN | Signal::SIGTTOU));
        if self.foreground.minds_stops() {
            match known {
                // They are about our own group being in the background.
                Some(Signal::SIGTTIN | Signal::SIGTTOU) => return,
                Some(Signal::SIGTSTP) => self.told_to_stop = true,
                Some(Signal::SIGCONT) => return self.resume(),
                _ => {}
            }
        }
        match self.options.rewritten.get(&signal) {
            Some(0) => self.say(DEBUG, || format!("signal {signal} is dropped")),
            Some(&instead) => self.send(instead, self.options.whole_group),
            None => self.send(signal, self.options.whole_group),
        }
        if stops && !self.foreground.minds_stops() {
            // A shell above us then sees its job stopped. Process 1 cannot be.
            let _ = heir::send(std::process::id().cast_signed(), false, Signal::SIGSTOP as i32);
        }
    }

    fn send(&self, signal: i32, whole_group: bool) {
        match heir::send(self.child, whole_group, signal) {
            Ok(()) => self.say(DEBUG, || format!("forwarded signal {signal}")),
            Err(error) => {
                self.say(WARNING, || format!("signal {signal} was not forwarded: {}", error.desc()));
            }
        }
    }

    /// The program was stopped by `signal`: so is whoever waits for it, as if it stood there itself.
    fn stopped(&mut self, signal: i32) {
        let Ok(signal) = Signal::try_from(signal) else { return };
        self.say(DEBUG, || format!("the command was stopped by {signal}"));
        if matches!(signal, Signal::SIGTTIN | Signal::SIGTTOU) && self.foreground.hand_over(self.child) {
            // It may have what it was stopped for.
            return self.send(Signal::SIGCONT as i32, true);
        }
        self.foreground.suspend(signal);
        // Back here. If we were stopped, SIGCONT waits to be read and does the same. If not, nobody above us could
        // bring the program back, so it goes on: the kernel has this rule for groups that no shell looks after.
        if signal != Signal::SIGSTOP && !self.told_to_stop {
            self.resume();
        }
    }

    fn resume(&mut self) {
        self.foreground.hand_over(self.child);
        // The whole group: a ctrl-Z has stopped all of it.
        self.send(Signal::SIGCONT as i32, true);
        self.told_to_stop = false;
    }

    fn end(&self, status: u8) -> u8 {
        self.say(INFO, || format!("the command ended with status {status}"));
        self.foreground.give_back(self.child);
        if self.options.place == Place::Session {
            // What it left behind in its group, if anything.
            let signal = Signal::SIGTERM as i32;
            let signal = self.options.rewritten.get(&signal).copied().unwrap_or(signal);
            let _ = heir::send(self.child, true, signal);
        }
        if self.options.remapped.contains(&status) { 0 } else { status }
    }

    fn say(&self, level: u8, text: impl FnOnce() -> String) {
        if level <= self.options.verbosity {
            say(&text());
        }
    }
}

/// The code, or 128 and the signal.
fn status_of(status: WaitStatus) -> Option<u8> {
    let status = status.exit_status().or(status.terminating_signal().map(|signal| 128 + signal))?;
    u8::try_from(status).ok()
}

fn say(text: &str) {
    // Nobody may be reading, and that is no reason to fail.
    let _ = io::stderr().write_all(format!("pid1 init: {text}\n").as_bytes());
}
