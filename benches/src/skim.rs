//! A client that takes what comes and looks at the heads of messages only; the kernel throws the rest away uncopied.
//! So on a machine that it shares with the agent, taking much costs the client next to nothing.

use std::net::TcpStream;

use anyhow::{Context, Result, bail};
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};

use crate::client::Client;
use crate::frames::{self, Start};

/// Enough of a message to see what it is and how much it carries.
const PEEK_BYTES: usize = 64;

/// Read at once where messages begin.
const HEADS_BYTES: usize = 2048;

/// Thrown away at once.
const SCRATCH_BYTES: usize = 1 << 20;

/// Room for what is read; the kernel writes nothing of what it throws away.
pub struct Scratch(Vec<u8>);

impl Scratch {
    /// One is enough for any number of connections.
    pub fn new() -> Scratch {
        Scratch(vec![0; SCRATCH_BYTES])
    }
}

/// A connection whose messages are skimmed.
pub struct Skimmer {
    /// To wait on.
    pub socket: TcpStream,
    heads: Vec<u8>,
    /// What of `heads` was taken.
    taken: usize,
    /// Bytes to throw away before the next message begins.
    skip: usize,
}

impl Skimmer {
    /// Goes on where `client` is.
    pub fn new(client: Client) -> Skimmer {
        let (socket, heads) = client.into_parts();
        Skimmer { socket, heads, taken: 0, skip: 0 }
    }

    /// The next message. With `wait` it waits for one; without, there may be none yet.
    pub fn next(&mut self, scratch: &mut Scratch, wait: bool) -> Result<Option<Start>> {
        let base = if wait { RecvFlags::empty() } else { RecvFlags::DONTWAIT };
        loop {
            if self.skip == 0
                && let Some(start) = self.look()?
            {
                return Ok(Some(start));
            }
            let (room, flags) = match self.skip {
                0 => (HEADS_BYTES, base),
                skip => (skip.min(SCRATCH_BYTES), base | RecvFlags::TRUNC),
            };
            match recv(&self.socket, &mut scratch.0[..room], flags) {
                Ok((_, 0)) => bail!("the agent ended the connection"),
                Ok((_, came)) if self.skip > 0 => self.skip -= came,
                Ok((_, came)) => self.heads.extend_from_slice(&scratch.0[..came]),
                Err(Errno::AGAIN) if !wait => return Ok(None),
                Err(error) => return Err(error).context("nothing comes from the agent"),
            }
        }
    }

    fn look(&mut self) -> Result<Option<Start>> {
        let rest = &self.heads[self.taken..];
        let Some(head) = frames::head(rest) else { return Ok(self.forget()) };
        let payload = &rest[head.len..];
        if payload.len() < head.payload.min(PEEK_BYTES) {
            return Ok(self.forget());
        }
        let start = frames::start(payload).context("the agent sent no command")?;
        let here = payload.len().min(head.payload);
        self.taken += head.len + here;
        self.skip = head.payload - here;
        Ok(Some(start))
    }

    /// Lets go of what was taken; there is no whole head behind it.
    fn forget(&mut self) -> Option<Start> {
        self.heads.drain(..self.taken);
        self.taken = 0;
        None
    }
}
