//! The end of a table: its programs, then who is left of those that they had started.

use std::io;
use std::time::Instant;

use super::exit::StopCause;
use super::table::ProcessTable;
use super::{lock, proc_fs, stop};
use crate::limits::REST_GRACE;

impl ProcessTable {
    /// From here on orphans of the table's programs become children of this process (PR_SET_CHILD_SUBREAPER), as those of
    /// process 1 are anyway: whoever calls this has to reap them, and `stop_all` ends them.
    ///
    /// # Errors
    /// From kernels before 3.4.
    pub fn adopt_orphans(&self) -> io::Result<()> {
        // What ran here before the agent belongs to process 1 as well, else to somebody who may want it to go on.
        let strangers = if std::process::id() == 1 { Vec::new() } else { proc_fs::children() };
        nix::sys::prctl::set_child_subreaper(true)?;
        // A second call would take programs of ours for strangers.
        let _ = self.shared.strangers.set(strangers);
        Ok(())
    }

    /// Stops every program and what exited ones left behind; nothing can be started any more. After `adopt_orphans` it then
    /// ends their daemons, as process 1 every other process. Returns when all is gone, at the latest after the grace
    /// (but a second at least for daemons) and what SIGKILL takes.
    pub async fn stop_all(&self) {
        let table = &self.shared;
        let began = Instant::now();
        lock(&table.state).closed = true;
        let processes = self.list();
        for process in &processes {
            process.stop(StopCause::Shutdown);
        }
        for process in processes {
            process.stopped().await;
        }
        table.stopped.cancel();
        if let Some(strangers) = table.strangers.get() {
            let grace = table.config.stop_grace.saturating_sub(began.elapsed()).max(REST_GRACE);
            stop::rest(table, strangers, grace, &table.hurry).await;
        }
    }

    /// Resolves when a `stop_all` has ended every program. Cancel-safe.
    pub async fn all_stopped(&self) {
        self.shared.stopped.cancelled().await;
    }

    /// Kills every program; nothing can be started any more. Cuts the grace of a `stop_all` short, of this one and of one
    /// to come.
    pub fn hurry(&self) {
        lock(&self.shared.state).closed = true;
        self.shared.hurry.cancel();
        for process in self.list() {
            process.kill(StopCause::Shutdown);
        }
    }

    /// Reaps one dead child of this process, a program of the table or not; false if nobody is dead. For who has called
    /// `adopt_orphans`, whenever a child may have died. A program's status is never lost by it.
    pub fn reap_any(&self) -> bool {
        self.shared.reap_any()
    }
}
