//! Our own terminal: raw while a program elsewhere has it, as it was on every way out.
//!
//! What it deliberately does not do: read or write it.

use std::io;

use nix::sys::signal::SigSet;
use rustix::process::getpgrp;
use rustix::termios::{OptionalActions, Termios, isatty, tcgetattr, tcgetpgrp, tcgetwinsize, tcsetattr};

/// Our terminal in raw mode: each key is a byte for the program, none a signal for us. Dropping it restores the
/// terminal, in a panic too.
#[derive(Debug)]
pub(crate) struct RawMode {
    cooked: Termios,
}

impl RawMode {
    /// Makes the terminal on stdin raw. From here on signals wait until [`hear_signals`]: one that ended us before we
    /// listen would leave the terminal raw.
    pub(crate) fn enter() -> io::Result<RawMode> {
        SigSet::all().thread_block()?;
        let mode = RawMode { cooked: tcgetattr(rustix::stdio::stdin())? };
        mode.again()?;
        Ok(mode)
    }

    /// Back to raw, after a stop.
    pub(crate) fn again(&self) -> io::Result<()> {
        let mut raw = self.cooked.clone();
        raw.make_raw();
        Ok(tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, &raw)?)
    }

    /// As it was, for the time of a stop or for good.
    pub(crate) fn restore(&self) {
        // A terminal that is gone needs no restoring.
        let _ = tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, &self.cooked);
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        self.restore();
    }
}

/// Somebody listens now.
pub(crate) fn hear_signals() -> io::Result<()> {
    Ok(SigSet::all().thread_unblock()?)
}

/// Whether reading stdin would stop us: a terminal that has another job in front.
pub(crate) fn in_background() -> bool {
    is_terminal() && tcgetpgrp(rustix::stdio::stdin()).is_ok_and(|front| front != getpgrp())
}

/// Whether a person sits at stdin.
pub(crate) fn is_terminal() -> bool {
    isatty(rustix::stdio::stdin())
}

/// Rows and columns of our terminal, if we have one that knows.
pub(crate) fn size() -> Option<(u16, u16)> {
    [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()]
        .into_iter()
        .filter_map(|fd| tcgetwinsize(fd).ok())
        .map(|size| (size.ws_row, size.ws_col))
        .find(|(rows, cols)| *rows > 0 && *cols > 0)
}

/// What a program on our terminal should know about it. Languages only where every system has them: a shell that
/// cannot find a locale complains at each start.
pub(crate) fn environment() -> Vec<(String, String)> {
    let known = |name: &str, value: &str| match name {
        "TERM" | "COLORTERM" | "NO_COLOR" => !value.is_empty(),
        "LANG" => matches!(value, "C" | "POSIX" | "C.UTF-8" | "C.utf8"),
        _ => name.starts_with("LC_") && matches!(value, "C" | "POSIX" | "C.UTF-8" | "C.utf8"),
    };
    let text = std::env::vars_os().filter_map(|(n, v)| Some((n.into_string().ok()?, v.into_string().ok()?)));
    text.filter(|(name, value)| known(name, value)).collect()
}
