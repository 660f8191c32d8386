//! The run: the workspace's program, started by the Run button. There is one at a time, whatever window started it, and all
//! windows show it. It belongs to none of them: it runs on when the last is closed.

use std::sync::{Arc, Mutex, PoisonError};

use pid1_sdk::channel::Company;
use pid1_sdk::engine::Engine;
use pid1_sdk::process::{Io, Keep, Process, StopCause, WindowSize};
use pid1_sdk::window::Sizes;
use pid1_sdk::{ChannelId, Error, Result, SessionId, limits};
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;

use crate::follow::{self, News, advice_on_start};
use crate::hints::Hints;
use crate::plan::Plan;

/// All windows' view of the run.
#[derive(Debug)]
pub(crate) struct Runner {
    seen: watch::Sender<Seen>,
    /// Held by the press that is being carried out.
    turn: Semaphore,
    terminal: Mutex<Terminal>,
    /// Whoever is shown the run, in all windows.
    company: Arc<Company>,
}

/// What the windows watch.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    last: Option<Run>,
    /// How often Stop was pressed.
    stops: u64,
}

/// What the next run's terminal is like.
#[derive(Debug, Default)]
struct Terminal {
    /// By the window and its member: the last to type wins, in whichever.
    sizes: Sizes<(ChannelId, SessionId)>,
    size: WindowSize,
    pipe_mode: bool,
}

/// A run, going on or over.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    /// From 1; each run has another.
    pub(crate) number: u64,
    pub(crate) process: Process,
    /// What was run, as people would type it.
    pub(crate) line: String,
    /// What is told of it.
    pub(crate) news: watch::Receiver<News>,
    /// Stop was pressed here: what it had printed is not shown to newcomers any more.
    pub(crate) cleared: Option<u64>,
}

impl Run {
    pub(crate) fn goes_on(&self) -> bool {
        self.process.try_exit().is_none()
    }
}

/// A press of Run: what it found.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Press {
    number: u64,
    stops: u64,
}

/// Nothing was started: why, and what is advised about that.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) error: Error,
    pub(crate) hints: Vec<String>,
}

impl Default for Runner {
    fn default() -> Self {
        Runner {
            seen: watch::Sender::default(),
            turn: Semaphore::new(1),
            terminal: Mutex::default(),
            company: Arc::default(),
        }
    }
}

impl Runner {
    /// Where each further run is seen.
    pub(crate) fn watch(&self) -> watch::Receiver<Seen> {
        self.seen.subscribe()
    }

    /// The last run.
    pub(crate) fn last(&self) -> Option<Run> {
        self.seen.borrow().last.clone()
    }

    /// Run is pressed, before anything else happens.
    pub(crate) fn press(&self) -> Press {
        let seen = self.seen.borrow();
        Press { number: number(&seen), stops: seen.stops }
    }

    /// Carries `press` out with what `plan` gives, unless a run goes on: that is one for all, and pressing Run again changes
    /// nothing. Waits until nothing is left of the earlier one, which may hold the port that the next one wants; of all who press
    /// meanwhile there is one run, and none if Stop is pressed.
    pub(crate) async fn start(
        &self,
        engine: &Arc<Engine>,
        press: Press,
        plan: impl FnOnce() -> Result<Plan> + Send + 'static,
    ) -> Result<(), Refused> {
        let refused = |error| Refused { error, hints: Vec::new() };
        let ending = || refused(Error::new("run: the agent is ending"));
        let _turn = self.turn.acquire().await.map_err(|_| ending())?;
        if let Some(earlier) = self.last() {
            let process = &earlier.process;
            if earlier.number != press.number || earlier.goes_on() && !process.stopping() {
                return Ok(());
            }
            let left = process.stopping() || process.left_anything().await;
            if left || !process.stdout().ended() {
                // Who is not of its family and still has its terminal is no longer heard.
                process.stop(StopCause::Closed);
            }
            if left {
                process.stopped().await;
            }
            let mut news = earlier.news.clone();
            let over = news.wait_for(|news| news.over);
            // Windows leave out a run that has come and gone while they show another.
            let _ = timeout(limits::RUN_END_WAIT, over).await;
        }
        let plan = engine.runtimes().file_work(plan).await.ok_or_else(ending)?.map_err(refused)?;
        let (plan, why) = match self.launch(engine, press, plan) {
            None => return Ok(()),
            Some(refused) => refused,
        };
        let hints = advice_on_start(engine, plan, why.to_string()).await;
        Err(Refused { error: why, hints })
    }

    /// Starts it; if that is refused, why, and what would have been advised.
    fn launch(&self, engine: &Arc<Engine>, press: Press, plan: Plan) -> Option<(Hints, Error)> {
        let mut refused = None;
        self.seen.send_if_modified(|seen| {
            // Under the lock of what is seen: Stop comes before, or finds what is started here.
            if seen.stops != press.stops {
                return false;
            }
            let (size, pipe_mode) = self.terminal(|terminal| (terminal.size, terminal.pipe_mode));
            let mut spec = engine.spec(plan.args, plan.env, Io::Terminal(size), Keep::Tail);
            spec.stop_descendants = true;
            let process = match engine.processes().start(spec) {
                Ok(process) => process,
                Err(error) => {
                    refused = Some((plan.hints, error.into()));
                    return false;
                }
            };
            if pipe_mode {
                let _ = process.pipe_mode(true);
            }
            let (sender, news) = watch::channel(News::default());
            let number = number(seen) + 1;
            seen.last = Some(Run { number, process: process.clone(), line: plan.line, news, cleared: None });
            let engine = engine.clone();
            engine.clone().runtimes().spawn(async move {
                let follow = follow::follow(&engine, process, plan.hints, sender);
                engine.stopping().run_until_cancelled(follow).await;
            });
            true
        });
        refused
    }

    /// Ends the run, and what it has left running; the run, if there is one. A start that waits is given up.
    pub(crate) fn stop(&self) -> Option<Run> {
        let mut stopped = None;
        self.seen.send_if_modified(|seen| {
            seen.stops += 1;
            if let Some(run) = &mut seen.last {
                run.cleared = Some(run.process.stdout().end_offset());
                run.process.stop(StopCause::Request);
                stopped = Some(run.clone());
            }
            false
        });
        stopped
    }

    /// Changes what the terminals of runs to come are like. Whether that is a change.
    pub(crate) fn set_pipe_mode(&self, on: bool) -> bool {
        self.terminal(|terminal| std::mem::replace(&mut terminal.pipe_mode, on) != on)
    }

    /// Whoever is shown the run, in all windows.
    pub(crate) fn company(&self) -> &Arc<Company> {
        &self.company
    }

    /// What `who` does with the sizes of the windows; the run's terminal gets the one that results.
    pub(crate) fn size(&self, change: impl FnOnce(&mut Sizes<(ChannelId, SessionId)>) -> Option<WindowSize>) {
        let decided = self.terminal(|terminal| {
            let decided = change(&mut terminal.sizes)?;
            terminal.size = decided;
            Some(decided)
        });
        if let (Some(size), Some(run)) = (decided, self.last()) {
            // Without a terminal that is open, there is nothing to resize.
            let _ = run.process.resize(size);
        }
    }

    fn terminal<T>(&self, work: impl FnOnce(&mut Terminal) -> T) -> T {
        work(&mut self.terminal.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn number(seen: &Seen) -> u64 {
    seen.last.as_ref().map_or(0, |run| run.number)
}
