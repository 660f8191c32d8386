//! The master side of a terminal: size, modes, foreground group.
//!
//! Modes are those of the slave; Linux lets the master read and set them. What it deliberately does not do: carry bytes
//! (the pump and `Stdin` do), or outlive the last program on it.

use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};

use nix::sys::signal::{Signal, killpg};
use portable_pty::SlavePty;
use rustix::io::Errno;
use rustix::process::Pid;
use rustix::pty::OpenptFlags;
use rustix::termios::{
    ControlModes, InputModes, LocalModes, OptionalActions, OutputModes, QueueSelector, SpecialCodeIndex,
    Termios, Winsize,
};

use super::error::TerminalError;
use super::lock;
use super::spec::WindowSize;

/// The master, until it is closed. Clones share it.
#[derive(Clone)]
pub(super) struct Terminal {
    master: Arc<Mutex<Option<Arc<OwnedFd>>>>,
    /// Held while the leader lives. Many programs close their descriptors before they end (`cat` does); with the last
    /// slave the master would read as hung up, we would close it, and the kernel would kill the program with SIGHUP in
    /// the middle of a successful exit.
    slave: Arc<Mutex<Option<Slave>>>,
}

type Slave = Box<dyn SlavePty + Send>;

impl Terminal {
    pub(super) fn new(master: Arc<OwnedFd>, slave: Slave) -> Self {
        Self { master: Arc::new(Mutex::new(Some(master))), slave: Arc::new(Mutex::new(Some(slave))) }
    }

    /// The leader has exited: from now on the terminal ends with its last program.
    pub(super) fn leader_exited(&self) {
        lock(&self.slave).take();
    }

    /// Gives up the master; with the pump's and stdin's it is closed, and the kernel hangs up the terminal.
    pub(super) fn close(&self) {
        lock(&self.master).take();
    }

    pub(super) fn size(&self) -> Result<WindowSize, TerminalError> {
        let size = self.with("read the size of", |master| rustix::termios::tcgetwinsize(master))?;
        Ok(WindowSize { rows: size.ws_row, cols: size.ws_col })
    }

    pub(super) fn resize(&self, size: WindowSize) -> Result<(), TerminalError> {
        let size = Winsize { ws_row: size.rows, ws_col: size.cols, ws_xpixel: 0, ws_ypixel: 0 };
        self.with("resize", |master| rustix::termios::tcsetwinsize(master, size))
    }

    /// The process group that is in the foreground.
    pub(super) fn foreground(&self) -> Result<Pid, TerminalError> {
        self.with("find the foreground of", |master| rustix::termios::tcgetpgrp(master))
    }

    pub(super) fn set_utf8(&self) -> Result<(), TerminalError> {
        self.change("set up", |modes| modes.input_modes |= InputModes::IUTF8)
    }

    /// What `stty sane` sets, less its reset of UTF-8.
    pub(super) fn sane(&self) -> Result<(), TerminalError> {
        self.change("reset", |modes| {
            modes.control_modes |= ControlModes::CREAD;
            modes.input_modes &= !(InputModes::IGNBRK
                | InputModes::INLCR
                | InputModes::IGNCR
                | InputModes::IXOFF
                | InputModes::IUCLC
                | InputModes::IXANY);
            modes.input_modes |=
                InputModes::BRKINT | InputModes::ICRNL | InputModes::IXON | InputModes::IMAXBEL;
            modes.output_modes &= !(OutputModes::OLCUC
                | OutputModes::OCRNL
                | OutputModes::ONOCR
                | OutputModes::ONLRET
                | OutputModes::OFILL
                | OutputModes::OFDEL);
            modes.output_modes |= OutputModes::OPOST | OutputModes::ONLCR;
            modes.local_modes &= !(LocalModes::ECHONL
                | LocalModes::NOFLSH
                | LocalModes::XCASE
                | LocalModes::TOSTOP
                | LocalModes::ECHOPRT
                | LocalModes::EXTPROC
                | LocalModes::FLUSHO);
            modes.local_modes |= LocalModes::ISIG
                | LocalModes::ICANON
                | LocalModes::IEXTEN
                | LocalModes::ECHO
                | LocalModes::ECHOE
                | LocalModes::ECHOK
                | LocalModes::ECHOCTL
                | LocalModes::ECHOKE;
            for (code, value) in SANE_CODES {
                modes.special_codes[code] = value;
            }
        })
    }

    /// What `stty raw icrnl isig -echo` sets: bytes pass as they are, but ^C still interrupts and return ends a line.
    pub(super) fn raw_pipe(&self) -> Result<(), TerminalError> {
        self.change("set up", |modes| {
            modes.input_modes &= !(InputModes::IGNBRK
                | InputModes::BRKINT
                | InputModes::IGNPAR
                | InputModes::PARMRK
                | InputModes::INPCK
                | InputModes::ISTRIP
                | InputModes::INLCR
                | InputModes::IGNCR
                | InputModes::IXON
                | InputModes::IXOFF
                | InputModes::IUCLC
                | InputModes::IXANY
                | InputModes::IMAXBEL);
            modes.input_modes |= InputModes::ICRNL;
            modes.output_modes &= !OutputModes::OPOST;
            modes.local_modes &= !(LocalModes::ICANON | LocalModes::XCASE | LocalModes::ECHO);
            modes.local_modes |= LocalModes::ISIG;
            modes.special_codes[SpecialCodeIndex::VMIN] = 1;
            modes.special_codes[SpecialCodeIndex::VTIME] = 0;
        })
    }

    /// The character that means "end of input", if the terminal collects lines; else there is none.
    pub(super) fn end_of_input(&self) -> Option<u8> {
        let modes = self.with("read", |master| rustix::termios::tcgetattr(master)).ok()?;
        let code = modes.special_codes[SpecialCodeIndex::VEOF];
        (modes.local_modes.contains(LocalModes::ICANON) && code != 0).then_some(code)
    }

    /// The last key among `bytes` of which the terminal makes a signal, and that signal. None if it passes such keys on.
    pub(super) fn signal_key(&self, bytes: &[u8]) -> Option<(usize, Signal)> {
        let modes = self.with("read", |master| rustix::termios::tcgetattr(master)).ok()?;
        if !modes.local_modes.contains(LocalModes::ISIG) {
            return None;
        }
        let keys = SIGNAL_KEYS.map(|(key, signal)| (modes.special_codes[key], signal));
        let signal_of = |byte: u8| keys.iter().find(|(code, _)| *code == byte && byte != 0);
        bytes.iter().enumerate().rev().find_map(|(at, byte)| Some((at, signal_of(*byte)?.1)))
    }

    /// How much of its input the program has not read, as far as the kernel has counted it.
    pub(super) fn unread(&self) -> u64 {
        self.with("look at", |master| rustix::io::ioctl_fionread(peer(master)?)).unwrap_or(0)
    }

    /// Drops what the kernel holds of the input, and sends `signal` to whoever is in front, as its key does.
    pub(super) fn interrupt(&self, signal: Signal) {
        let _ = self.with("flush", |master| {
            rustix::termios::tcflush(master, QueueSelector::OFlush)?;
            // What the program could read now, only its own side can drop. Otherwise a shell that comes to the front
            // would run the rest of a paste.
            rustix::termios::tcflush(peer(master)?, QueueSelector::IFlush)
        });
        if let Ok(group) = self.foreground() {
            let _ = killpg(nix::unistd::Pid::from_raw(group.as_raw_nonzero().get()), signal);
        }
    }

    fn change(&self, step: &'static str, edit: impl FnOnce(&mut Termios)) -> Result<(), TerminalError> {
        self.with(step, |master| {
            let mut modes = rustix::termios::tcgetattr(master)?;
            edit(&mut modes);
            rustix::termios::tcsetattr(master, OptionalActions::Now, &modes)
        })
    }

    fn with<T>(
        &self,
        step: &'static str,
        work: impl FnOnce(&OwnedFd) -> Result<T, Errno>,
    ) -> Result<T, TerminalError> {
        let master = lock(&self.master).clone().ok_or(TerminalError::Closed)?;
        work(&master).map_err(|error| TerminalError::System { step, source: error.into() })
    }
}

/// The program's own side.
fn peer(master: &OwnedFd) -> Result<OwnedFd, Errno> {
    rustix::pty::ioctl_tiocgptpeer(master, OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)
}

/// The special characters that signal, as the kernel has them.
const SIGNAL_KEYS: [(SpecialCodeIndex, Signal); 3] = [
    (SpecialCodeIndex::VINTR, Signal::SIGINT),
    (SpecialCodeIndex::VQUIT, Signal::SIGQUIT),
    (SpecialCodeIndex::VSUSP, Signal::SIGTSTP),
];

/// The special characters of a new Linux terminal.
const SANE_CODES: [(SpecialCodeIndex, u8); 14] = [
    (SpecialCodeIndex::VINTR, 0x03),
    (SpecialCodeIndex::VQUIT, 0x1c),
    (SpecialCodeIndex::VERASE, 0x7f),
    (SpecialCodeIndex::VKILL, 0x15),
    (SpecialCodeIndex::VEOF, 0x04),
    (SpecialCodeIndex::VEOL, 0),
    (SpecialCodeIndex::VEOL2, 0),
    (SpecialCodeIndex::VSTART, 0x11),
    (SpecialCodeIndex::VSTOP, 0x13),
    (SpecialCodeIndex::VSUSP, 0x1a),
    (SpecialCodeIndex::VREPRINT, 0x12),
    (SpecialCodeIndex::VWERASE, 0x17),
    (SpecialCodeIndex::VLNEXT, 0x16),
    (SpecialCodeIndex::VDISCARD, 0x0f),
];
