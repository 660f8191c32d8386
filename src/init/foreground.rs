//! Where the program of a plain init stands, and who has the terminal: the program, or the shell that waits for us.
//!
//! What it deliberately does not do: wait, or decide what a stop means.

use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::{Pid, getpgrp, getpid, getsid, tcgetpgrp, tcsetpgrp};
use pid1_sdk::process::heir::{self, Stand};
use rustix::fs::{Mode, OFlags};

/// Where the program stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// In a group of its own, in the foreground of our terminal; when it is stopped, we are.
    Group,
    /// In a session of its own, which takes over the terminal; its group ends with it.
    Session,
    /// In our own group.
    Beside,
}

/// The terminal, if there is one.
pub(crate) struct Foreground {
    place: Place,
    terminal: Option<OwnedFd>,
    /// We have it, so the program gets it at its start.
    ours: bool,
    /// Why the program's session has none.
    pub(crate) missing: Option<Errno>,
}

impl Foreground {
    pub(crate) fn prepare(place: Place) -> Foreground {
        let (terminal, missing) = match place {
            Place::Group => (controlling_terminal(), None),
            Place::Session => match released_terminal() {
                Ok(terminal) => (Some(terminal), None),
                Err(error) => (None, Some(error)),
            },
            Place::Beside => (None, None),
        };
        let mut found = Foreground { place, terminal, ours: false, missing };
        found.ours = found.is_ours();
        found
    }

    pub(crate) fn stand(&self) -> Stand<'_> {
        let terminal = self.terminal.as_ref().map(AsFd::as_fd);
        match self.place {
            Place::Group => Stand::Group(terminal.filter(|_| self.ours)),
            Place::Session => Stand::Session(terminal),
            Place::Beside => Stand::Beside,
        }
    }

    /// Whether stops of the program are ours too.
    pub(crate) fn minds_stops(&self) -> bool {
        self.place == Place::Group
    }

    /// Gives the terminal to the program's group if it is with ours, where a shell puts it. Whether it was.
    pub(crate) fn hand_over(&self, child: i32) -> bool {
        self.is_ours() && self.give_to(Pid::from_raw(child))
    }

    /// Takes the terminal back from a program that did not start.
    pub(crate) fn reclaim(&self) {
        if self.ours {
            self.give_to(getpgrp());
        }
    }

    /// Takes the terminal back from the program's group, for whoever runs next in ours.
    pub(crate) fn give_back(&self, child: i32) {
        if self.holder().is_some_and(|holder| holder.as_raw() == child) {
            self.give_to(getpgrp());
        }
    }

    /// Stops us and all of our group, as the terminal does it with a job. Returns when we go on, which is at once if no
    /// shell looks after our group.
    pub(crate) fn suspend(&self, signal: Signal) {
        // What process 1 gets from below reaches its group above, too; and it cannot be stopped itself.
        if getpid().as_raw() == 1 {
            return;
        }
        // Not SIGSTOP: that one stops us even where nobody would ever continue us.
        let signal = if signal == Signal::SIGSTOP { Signal::SIGTSTP } else { signal };
        let one = SigSet::from_iter([signal]);
        if kill(Pid::from_raw(0), signal).is_ok() && one.thread_unblock().is_ok() {
            // It was blocked before, and is again.
            let _ = one.thread_block();
        }
    }

    /// The group in the foreground; 0 is one that cannot be seen from this pid namespace, as ours may be, too.
    fn holder(&self) -> Option<Pid> {
        if self.place != Place::Group {
            return None;
        }
        tcgetpgrp(self.terminal.as_ref()?).ok()
    }

    fn is_ours(&self) -> bool {
        self.holder().is_some_and(|holder| holder == getpgrp())
    }

    fn give_to(&self, group: Pid) -> bool {
        // From the background, too: SIGTTOU is blocked.
        self.terminal.as_ref().is_some_and(|terminal| tcsetpgrp(terminal, group).is_ok())
    }
}

/// Stdin if it is our terminal, else the one that we were started from.
fn controlling_terminal() -> Option<OwnedFd> {
    let stdin = rustix::stdio::stdin();
    if tcgetpgrp(stdin).is_ok() {
        return rustix::io::fcntl_dupfd_cloexec(stdin, 3).ok();
    }
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let terminal = rustix::fs::open("/dev/tty", flags, Mode::empty()).ok()?;
    tcgetpgrp(&terminal).is_ok().then_some(terminal)
}

/// Stdin opened anew, if it is a terminal that a session of the program's can have.
fn released_terminal() -> nix::Result<OwnedFd> {
    let stdin = rustix::stdio::stdin();
    heir::leave_terminal(stdin)?;
    if getsid(None)? == getpid() {
        // The kernel tells a session that it has lost its terminal: us, who wanted that.
        let told = SigSet::from_iter([Signal::SIGHUP, Signal::SIGCONT]);
        let signals = SignalFd::with_flags(&told, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
        while signals.read_signal()?.is_some() {}
    }
    // A permission that is missing shows here, not in the child.
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let terminal = rustix::fs::open("/proc/self/fd/0", flags, Mode::empty());
    terminal.map_err(|error| Errno::from_raw(error.raw_os_error()))
}
