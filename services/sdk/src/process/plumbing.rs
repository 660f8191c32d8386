//! Opens what connects a program with the agent: three pipes, or a terminal.
//!
//! Every descriptor is close-on-exec, ours do not block. What it deliberately does not do: read or write them.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use portable_pty::{PtySize, native_pty_system};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};

use super::error::StartError;
use super::spawn;
use super::spec::{Discard, Io, WindowSize};
use super::terminal::Terminal;

/// Both ends of the connection; the child's are closed when this is dropped.
pub(super) struct Plumbing {
    pub(super) ours: Ours,
    pub(super) child: ChildEnds,
}

/// The agent's ends.
pub(super) struct Ours {
    pub(super) stdin: Arc<OwnedFd>,
    /// None if it is discarded.
    pub(super) stdout: Option<Arc<OwnedFd>>,
    /// None if it is discarded, or not split off.
    pub(super) stderr: Option<Arc<OwnedFd>>,
    pub(super) terminal: Option<Terminal>,
}

/// The program's ends.
pub(super) enum ChildEnds {
    Pipes {
        stdin: OwnedFd,
        stdout: OwnedFd,
        /// None if it is stdout's.
        stderr: Option<OwnedFd>,
    },
    /// The name of the slave; the child opens it.
    Terminal { path: CString },
}

/// Opens what `io` asks for, but for output that is discarded.
///
/// # Errors
/// `System` or `Terminal` if descriptors or terminals have run out, or there is no /dev/null.
pub(super) fn open(io: Io, discard: Discard) -> Result<Plumbing, StartError> {
    match io {
        Io::Pipes { split_stderr } => open_pipes(split_stderr, discard),
        Io::Terminal(size) => open_terminal(size).map_err(|reason| StartError::Terminal { reason }),
    }
}

fn open_pipes(split_stderr: bool, discard: Discard) -> Result<Plumbing, StartError> {
    let (child_stdin, stdin) = pipe_with(PipeFlags::CLOEXEC).map_err(no_pipe)?;
    set_nonblocking(&stdin).map_err(no_pipe)?;
    let (stdout, child_stdout) = open_output(discard.stdout)?;
    let (stderr, child_stderr) = if split_stderr || discard.stderr {
        let (stderr, child_stderr) = open_output(discard.stderr)?;
        (stderr, Some(child_stderr))
    } else {
        (None, None)
    };
    Ok(Plumbing {
        ours: Ours { stdin: Arc::new(stdin), stdout, stderr, terminal: None },
        child: ChildEnds::Pipes { stdin: child_stdin, stdout: child_stdout, stderr: child_stderr },
    })
}

/// Our end of one output stream, unless that is discarded, and the program's.
fn open_output(discard: bool) -> Result<(Option<Arc<OwnedFd>>, OwnedFd), StartError> {
    if discard {
        let null = rustix::fs::open(c"/dev/null", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())
            .map_err(|reason| StartError::System { step: "open /dev/null", source: reason.into() })?;
        return Ok((None, null));
    }
    let (ours, child) = pipe_with(PipeFlags::CLOEXEC).map_err(no_pipe)?;
    set_nonblocking(&ours).map_err(no_pipe)?;
    Ok((Some(Arc::new(ours)), child))
}

fn no_pipe(reason: Errno) -> StartError {
    StartError::System { step: "open its pipes", source: reason.into() }
}

fn open_terminal(size: WindowSize) -> Result<Plumbing, String> {
    let size = PtySize { rows: size.rows, cols: size.cols, pixel_width: 0, pixel_height: 0 };
    let pair = native_pty_system().openpty(size).map_err(|error| error.to_string())?;
    let path = pair.master.tty_name().ok_or("it has no name; is /dev/pts mounted?")?;
    let path = CString::new(path.as_os_str().as_bytes()).map_err(|error| error.to_string())?;
    let master = spawn::duplicate_master(pair.master.as_ref()).map_err(|error| error.to_string())?;
    set_nonblocking(&master).map_err(|error| error.to_string())?;
    let master = Arc::new(master);
    let terminal = Terminal::new(master.clone(), pair.slave);
    // A terminal that does not know UTF-8 erases half a character; without this it would still work.
    let _ = terminal.set_utf8();
    Ok(Plumbing {
        ours: Ours { stdin: master.clone(), stdout: Some(master), stderr: None, terminal: Some(terminal) },
        child: ChildEnds::Terminal { path },
    })
}

/// The flag belongs to the open file, so only for an end that the child does not have.
fn set_nonblocking(fd: &impl AsFd) -> rustix::io::Result<()> {
    let flags = rustix::fs::fcntl_getfl(fd)?;
    rustix::fs::fcntl_setfl(fd, flags | OFlags::NONBLOCK)
}
