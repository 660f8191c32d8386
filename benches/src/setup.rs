//! What every row needs to know: which binary, how many rounds, how large, and where temporary files go.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use crate::machine;

/// One run of the bench.
pub struct Setup {
    /// Rounds of each row.
    pub rounds: u32,
    /// Small sizes.
    pub quick: bool,
    /// How busy the machine was before.
    pub load: String,
    /// The agent that is measured.
    pub pid1: PathBuf,
    /// This program, for its stand-ins.
    pub this: PathBuf,
    folder: TempDir,
}

impl Setup {
    /// Finds the agent: `PID1_BIN`, else the `pid1` that was built beside this program.
    pub fn new(rounds: u32, quick: bool) -> Result<Setup> {
        let this = std::env::current_exe().context("cannot find this program's own path")?;
        let pid1 = match std::env::var_os("PID1_BIN") {
            Some(path) => std::path::absolute(path)?,
            None => this.with_file_name("pid1"),
        };
        if !pid1.is_file() {
            bail!("{} is not there: run cargo build --release first, or set PID1_BIN", pid1.display());
        }
        let folder = tempfile::Builder::new().prefix("pid1-bench-").tempdir()?;
        Ok(Setup {
            rounds: if quick { rounds.min(2) } else { rounds },
            quick,
            load: machine::load()?,
            pid1,
            this,
            folder,
        })
    }

    /// A full size, or a small part of it.
    pub fn size(&self, full: u64) -> u64 {
        if self.quick { full / 16 } else { full }
    }

    /// Where temporary files go; removed at the end.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Runs ours and the limit one after the other for each round; who is first alternates, so that neither has the
    /// warmer machine.
    pub fn each_round<S, O, L>(
        &self,
        state: &mut S,
        mut ours: impl FnMut(&mut S) -> Result<O>,
        mut limit: impl FnMut(&mut S) -> Result<L>,
        mut take: impl FnMut(&O, &L),
    ) -> Result<()> {
        for round in 0..self.rounds {
            let (one, other) = if round % 2 == 0 {
                let one = ours(state)?;
                (one, limit(state)?)
            } else {
                let other = limit(state)?;
                (ours(state)?, other)
            };
            take(&one, &other);
        }
        Ok(())
    }
}

/// Waits. Only where there is nothing to wait for: to pace what is measured, or for a program to go away.
#[expect(
    clippy::disallowed_methods,
    reason = "this thread belongs to the bench alone; nobody else is held up"
)]
pub fn pause(time: Duration) {
    std::thread::sleep(time);
}

/// A program of the bare limit, or the agent itself: neither may go through the engine that is measured.
#[expect(clippy::disallowed_methods, reason = "the bench must not start programs through what it measures")]
pub fn program(path: &Path) -> std::process::Command {
    std::process::Command::new(path)
}
