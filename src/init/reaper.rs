//! Reaps whom nobody else waits for: orphans, whose parent this agent has become.
//!
//! The table takes whoever is dead under its lock. So the status of its own programs is never lost, whether this or the
//! program's own watcher comes first.

use std::io;

use pid1_sdk::process::ProcessTable;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// After so many in one go, others get their turn.
const BATCH: usize = 64;

/// Reaps for as long as it runs.
pub(crate) struct Reaper {
    /// The kernel tells of any number of deaths with one signal.
    news: Signal,
    processes: ProcessTable,
}

impl Reaper {
    /// From here on no death goes unnoticed. Needs the runtime that will run it.
    pub(crate) fn new(processes: ProcessTable) -> io::Result<Reaper> {
        let news = signal(SignalKind::child())?;
        processes.adopt_orphans()?;
        Ok(Reaper { news, processes })
    }

    /// Never ends by itself.
    pub(crate) async fn run(mut self) {
        loop {
            let mut reaped = 0_usize;
            while self.processes.reap_any() {
                reaped += 1;
                if reaped.is_multiple_of(BATCH) {
                    tokio::task::yield_now().await;
                }
            }
            if self.news.recv().await.is_none() {
                return;
            }
        }
    }
}
