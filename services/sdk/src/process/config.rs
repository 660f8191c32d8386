//! What an operator decides about a table.

use std::path::PathBuf;
use std::time::Duration;

use crate::limits::{EXITED_KEPT, MAX_PROCESSES, STOP_GRACE};

/// What an operator decides about a table.
#[derive(Clone, Debug)]
pub struct TableConfig {
    /// Where replay files and the record of started programs are; without it logs stay in memory and nothing is recorded.
    pub state_dir: Option<PathBuf>,
    /// Time between the polite signal and SIGKILL.
    pub stop_grace: Duration,
    /// The soft limit on open descriptors that programs get, if the agent has raised its own.
    pub child_nofile_soft: Option<u64>,
    /// How soon programs are killed when memory runs out (`oom_score_adj`), if not as soon as the agent.
    pub child_oom_score: Option<i32>,
    /// What executes a program as somebody else or with `no_new_privs`: a binary that calls [`launch::carry_out`] with its
    /// second argument if its first is `launch`. Without one, such programs are not started.
    ///
    /// [`launch::carry_out`]: super::launch::carry_out
    pub launcher: Option<PathBuf>,
    /// Live programs at a time.
    pub max_processes: usize,
    /// Exited programs that stay listed although nobody holds them.
    pub exited_kept: usize,
}

impl Default for TableConfig {
    fn default() -> Self {
        Self {
            state_dir: None,
            stop_grace: STOP_GRACE,
            child_nofile_soft: None,
            child_oom_score: None,
            launcher: None,
            max_processes: MAX_PROCESSES,
            exited_kept: EXITED_KEPT,
        }
    }
}
