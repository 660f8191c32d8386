//! The runtimes the agent runs on; nothing else in the sdk knows which is which.
//!
//! What it deliberately does not do: build or end a runtime. The agent's `main` does; tests use the one they run on.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

use crate::limits;

/// Handles of the interactive runtimes and the bulk one, and the tracker that counts every task started through them.
///
/// Cloning is cheap; all clones share the tracker.
#[derive(Clone, Debug)]
pub struct Runtimes {
    interactive: Arc<[Handle]>,
    turn: Arc<AtomicUsize>,
    bulk: Handle,
    tracker: TaskTracker,
    file_workers: Arc<Semaphore>,
    long_file_workers: Arc<Semaphore>,
}

impl Runtimes {
    /// Uses `first` and `more` for everything a person waits for, `bulk` for streams that keep a core busy. What may block
    /// goes to the pool of `first`, which should keep its threads: where no new one can be made, nothing could be stopped.
    pub fn new(first: Handle, more: impl IntoIterator<Item = Handle>, bulk: Handle) -> Self {
        let interactive = std::iter::once(first).chain(more).collect();
        let file_workers = Arc::new(Semaphore::new(limits::FILE_WORKERS));
        let long_file_workers = Arc::new(Semaphore::new(limits::LONG_FILE_WORKERS));
        Self {
            interactive,
            turn: Arc::default(),
            bulk,
            tracker: TaskTracker::new(),
            file_workers,
            long_file_workers,
        }
    }

    /// All are the runtime of the caller, for tests and small tools.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn current() -> Self {
        Self::new(Handle::current(), [], Handle::current())
    }

    /// Starts a task on the interactive runtime of the caller, or on the first if the caller is on none.
    pub fn spawn<F>(&self, task: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.tracker.spawn_on(task, self.here())
    }

    /// Starts a task on the interactive runtime whose turn it is: one client after the other.
    pub fn spawn_in_turn<F>(&self, task: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % self.interactive.len();
        self.tracker.spawn_on(task, &self.interactive[turn])
    }

    fn here(&self) -> &Handle {
        let first = &self.interactive[0];
        if self.interactive.len() == 1 {
            return first;
        }
        let here = Handle::try_current().map(|handle| handle.id());
        self.interactive
            .iter()
            .find(|handle| here.as_ref().is_ok_and(|id| *id == handle.id()))
            .unwrap_or(first)
    }

    /// Starts a task on the bulk runtime.
    pub fn spawn_bulk<F>(&self, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.tracker.spawn_on(task, &self.bulk);
    }

    /// Runs `work`, which may block on files, on the blocking pool. The work is not undone if the handle is dropped.
    pub fn spawn_blocking<F, T>(&self, work: F) -> JoinHandle<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.tracker.spawn_blocking_on(work, &self.interactive[0])
    }

    /// Runs `work` on files on the blocking pool, when it is its turn: [`limits::FILE_WORKERS`] run at once. Once it has
    /// begun it runs to its end, also if nobody waits for it any more; before, it never begins. `None` if it panicked, or
    /// the agent ends.
    pub async fn file_work<F, T>(&self, work: F) -> Option<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let turn = self.file_workers.clone().acquire_owned().await.ok()?;
        let work = move || {
            let _until_done = turn;
            work()
        };
        self.spawn_blocking(work).await.ok()
    }

    /// As [`file_work`](Runtimes::file_work), for what may take long: [`limits::LONG_FILE_WORKERS`] of it run at once, so
    /// that others do not wait for all of it.
    pub async fn long_file_work<F, T>(&self, work: F) -> Option<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let turn = self.long_file_workers.clone().acquire_owned().await.ok()?;
        let work = move || {
            let _until_done = turn;
            work()
        };
        self.file_work(work).await
    }

    /// The tracker of every task started through these runtimes: close it and wait to know that all have ended.
    pub fn tracker(&self) -> &TaskTracker {
        &self.tracker
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;
    use std::time::Duration;

    use super::*;

    /// Work that ends when it is told to.
    async fn held(runtimes: Runtimes, running: Arc<AtomicUsize>, end: Arc<AtomicBool>) -> Option<()> {
        let work = move || {
            running.fetch_add(1, Ordering::Relaxed);
            while !end.load(Ordering::Relaxed) {
                std::thread::yield_now();
            }
        };
        runtimes.long_file_work(work).await
    }

    #[tokio::test]
    async fn long_work_leaves_threads_to_short_work() {
        let runtimes = Runtimes::current();
        let (running, end) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let many: Vec<_> = (0..2 * limits::FILE_WORKERS)
            .map(|_| runtimes.spawn(held(runtimes.clone(), running.clone(), end.clone())))
            .collect();
        let wait = Duration::from_secs(20);
        tokio::time::timeout(wait, async {
            while running.load(Ordering::Relaxed) < limits::LONG_FILE_WORKERS {
                tokio::task::yield_now().await;
            }
        })
        .await
        .expect("as many run as may");
        let short = tokio::time::timeout(wait, runtimes.file_work(|| 7)).await;
        let at_once = running.load(Ordering::Relaxed);
        end.store(true, Ordering::Relaxed);
        assert_eq!((short, at_once), (Ok(Some(7)), limits::LONG_FILE_WORKERS));
        for done in many {
            assert_eq!(done.await.ok(), Some(Some(())));
        }
    }

    #[tokio::test]
    async fn what_has_begun_is_done_and_what_waits_never_begins_for_nobody() {
        let runtimes = Runtimes::current();
        let (running, end) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let many: Vec<_> = (0..limits::LONG_FILE_WORKERS + 1)
            .map(|_| runtimes.spawn(held(runtimes.clone(), running.clone(), end.clone())))
            .collect();
        while running.load(Ordering::Relaxed) < limits::LONG_FILE_WORKERS {
            tokio::task::yield_now().await;
        }
        for waiting in &many {
            waiting.abort();
        }
        for given_up in many {
            assert!(given_up.await.is_err());
        }
        end.store(true, Ordering::Relaxed);
        assert_eq!(runtimes.long_file_work(|| 1).await, Some(1));
        assert_eq!(running.load(Ordering::Relaxed), limits::LONG_FILE_WORKERS);
    }
}
