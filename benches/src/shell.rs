//! A shell channel and what is typed into it.

use anyhow::{Result, bail};
use pid1_sdk::api::command::Body;

use crate::client::Client;
use crate::frames::OUTPUT;

/// Printed by [`MARK`]; what is typed does not contain it, so its echo is not mistaken for it.
const READY: &[u8] = b"ready";

/// Typed before what is measured.
const MARK: &str = "printf 're%s' ady";

/// An open shell channel.
pub struct Shell {
    /// Its number.
    pub channel: i32,
}

impl Shell {
    /// Opens a shell of its own, or joins the one of that name.
    pub fn open(client: &mut Client, name: &str) -> Result<Shell> {
        Ok(Shell { channel: client.open("shell", name)? })
    }

    /// The next text that it prints; messages of other channels are dropped.
    pub fn next<'a>(&self, client: &'a mut Client) -> Result<&'a [u8]> {
        client.next_of(self.channel, OUTPUT)
    }

    /// Types a line.
    pub fn line(&self, client: &mut Client, line: &str) -> Result<()> {
        client.send(self.channel, "", Body::Input(format!("{line}\n")))
    }

    /// Types `set_up`, then a mark, then `line`, and waits for the mark; gives back what came right behind it.
    pub fn after_mark(&self, client: &mut Client, set_up: &str, line: &str) -> Result<Vec<u8>> {
        self.line(client, &format!("{set_up}; {MARK}; {line}"))?;
        let mut seen = Vec::new();
        loop {
            seen.extend_from_slice(self.next(client)?);
            if let Some(at) = seen.windows(READY.len()).position(|part| part == READY) {
                return Ok(seen.split_off(at + READY.len()));
            }
            if seen.len() > 1 << 20 {
                bail!("the shell prints much, but not the mark");
            }
        }
    }
}
