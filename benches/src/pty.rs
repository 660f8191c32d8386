//! A bare terminal: opened, a program started on it, read in a loop. No agent, no event loop, nothing kept.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::process::{Child, Command};

use anyhow::{Context, Result};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};

/// A terminal's master side, with a program on the other.
pub struct Pty {
    /// Read it, write it.
    pub master: File,
    /// The program.
    pub child: Child,
}

impl Pty {
    /// Starts `program` on a new terminal; `raw` without echo and line editing.
    pub fn start(mut program: Command, raw: bool) -> Result<Pty> {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        grantpt(&master)?;
        unlockpt(&master)?;
        let name = ptsname(&master, Vec::new())?;
        let slave: OwnedFd =
            rustix::fs::open(&name, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty())?;
        if raw {
            let mut modes = tcgetattr(&slave)?;
            modes.make_raw();
            tcsetattr(&slave, OptionalActions::Now, &modes)?;
        }
        program.stdin(slave.try_clone()?).stdout(slave.try_clone()?).stderr(slave);
        let child = program.spawn().context("cannot start a program on a bare terminal")?;
        Ok(Pty { master: master.into(), child })
    }

    /// Reads up to a buffer; 0 once the last program on it is gone.
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        match self.master.read(buffer) {
            Err(error) if Errno::from_io_error(&error) == Some(Errno::IO) => Ok(0),
            other => Ok(other?),
        }
    }
}

impl Drop for Pty {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
