//! The run: the workspace's program, started by the Run button. There is one at a time, whatever window started it, and all
//! windows show it. It belongs to none of them: it runs on when the last is closed.

use std::sync::Arc;

use pid1_sdk::Result;
use pid1_sdk::engine::Engine;
use pid1_sdk::process::{Io, Keep, Process, StopCause, WindowSize};
use tokio::sync::watch;

use crate::hints::Rules;
use crate::plan::Plan;

/// All windows' view of the run.
#[derive(Debug, Default)]
pub(crate) struct Runner {
    last: watch::Sender<Option<Run>>,
}

/// A run, going on or over.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    /// From 1; each run has another.
    pub(crate) number: u64,
    pub(crate) process: Process,
    /// What was run, as people would type it.
    pub(crate) line: String,
    pub(crate) rules: Arc<Rules>,
}

impl Run {
    pub(crate) fn goes_on(&self) -> bool {
        self.process.try_exit().is_none()
    }
}

impl Runner {
    /// Where the present run, and each to come, is seen.
    pub(crate) fn watch(&self) -> watch::Receiver<Option<Run>> {
        self.last.subscribe()
    }

    /// The last run.
    pub(crate) fn last(&self) -> Option<Run> {
        self.last.borrow().clone()
    }

    /// Starts what `plan` gives, unless a run goes on: that is one for all, and pressing Run again changes nothing. What an
    /// earlier one has left running is ended.
    pub(crate) fn start(&self, engine: &Engine, size: WindowSize, plan: Plan) -> Result<()> {
        let mut result = Ok(());
        // Under the lock of what is seen: of two that press Run at once, the second finds the first's.
        self.last.send_if_modified(|last| {
            if last.as_ref().is_some_and(Run::goes_on) {
                return false;
            }
            let spec = engine.spec(plan.args, plan.env, Io::Terminal(size), Keep::Tail);
            match engine.processes().start(spec) {
                Ok(process) => {
                    let number = last.as_ref().map_or(0, |run| run.number) + 1;
                    if let Some(earlier) = last.take() {
                        earlier.process.stop(StopCause::Closed);
                    }
                    *last = Some(Run { number, process, line: plan.line, rules: plan.rules });
                    true
                }
                Err(error) => {
                    result = Err(error.into());
                    false
                }
            }
        });
        result
    }

    /// Ends the run, and what it has left running.
    pub(crate) fn stop(&self) {
        if let Some(run) = self.last() {
            run.process.stop(StopCause::Request);
        }
    }
}
