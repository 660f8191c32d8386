//! Watching the workspace: what comes, goes, moves and changes, as it happens, for any number of subscribers.
//!
//! One thread and one inotify instance for the agent, both from the first subscription on. A folder is watched once,
//! whoever asks for it. What subscribers are told does not come from the kernel's events but from the disk: events say
//! where to look, a look is compared with a *model* of what was last told, and the difference is told. So the end is
//! right whatever was merged, lost or overtaken.
//!
//! ```text
//! kernel -> inotify -> names that may have changed -> look at the disk -> reconcile -> mailbox -> subscriber
//!                      (50 ms are gathered)            compare with the model   (bounded; what does not fit
//!                                                                               comes as a difference later)
//! ```
//!
//! **What a subscription means.** A path is watched, not what is there: a subscription to what is missing, or goes away,
//! tells when it comes (back). A path itself is watched, and, if it is a folder, its direct children; with
//! [`Watch::add_tree`] everything beneath it. All folders on the way are watched, too, so that nothing goes unseen that
//! happens to them. Where a subscriber is told that a folder moved, its subscriptions beneath are good for the new place
//! as well. The content of a folder that came while its parent was subscribed is told in full when it is subscribed: so
//! nothing is missed between its coming and its subscription.
//!
//! **When inotify is not enough.** If the kernel drops events, everything watched is listed again and the difference is
//! told. A folder for which there is no watch to be had is listed again now and then, at a bounded cost, and
//! subscribers get a [`News::Notice`] that says so and what to do about it.
//!
//! What it deliberately does not do: follow links (a link is a file here, wherever it leads), see what other machines do
//! to a network file system, or see writes through another name of the same file outside of what is watched.

mod add;
mod behind;
mod disk;
mod follow;
mod gather;
mod inotify;
mod listing;
mod mailbox;
mod reconcile;
mod settle;
mod subscriber;
mod tell;
mod tree;
mod watches;
mod worker;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use tokio::sync::{mpsc, oneshot};

use crate::error::{Error, Result};
use crate::limits;
pub use listing::Kind;
use mailbox::{Bell, Mailbox};
use worker::{Order, Worker};

/// Something happened to a path, which is relative to the workspace's root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Where.
    pub path: PathBuf,
    /// What is there, or was.
    pub kind: Kind,
    /// What happened.
    pub what: What,
}

/// What happened to a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// It is there now. What is told of a folder's content comes after it.
    Create,
    /// It is gone, with everything beneath it.
    Remove,
    /// A file's content, size, mode or time changed, or another file took its place.
    Modify,
    /// It is at another path now, with everything beneath it; nothing is at that path by then.
    Move(PathBuf),
}

/// What a subscriber gets.
#[derive(Debug)]
pub enum News {
    /// In the order in which they are to be applied.
    Changes(Vec<Arc<Change>>),
    /// Something that people should know: watching works worse than it should.
    Notice(String),
}

/// The agent's watcher. Costs nothing until somebody subscribes.
#[derive(Debug)]
pub struct Watcher {
    root: PathBuf,
    max_watches: Option<usize>,
    /// Changes that may wait for one subscriber.
    queue: usize,
    thread: Mutex<Option<Thread>>,
    subscribers: AtomicU64,
}

#[derive(Debug)]
struct Thread {
    orders: mpsc::Sender<Order>,
    bell: Arc<Bell>,
    stop: Arc<AtomicBool>,
    handle: Option<JoinHandle<()>>,
}

impl Watcher {
    /// A watcher of what is beneath `root`, with at most `max_watches` of the kernel's watches; by default half of what
    /// the user may have, so that programs can watch, too.
    pub fn new(root: &Path, max_watches: Option<usize>) -> Watcher {
        Watcher {
            root: root.to_owned(),
            max_watches,
            queue: limits::WATCH_QUEUE,
            thread: Mutex::default(),
            subscribers: AtomicU64::new(0),
        }
    }

    /// A new subscriber, who watches nothing yet: the side that subscribes, and the side that is told. Dropping the first
    /// ends both.
    ///
    /// # Errors
    /// If the thread cannot be started, or the root not be opened.
    pub fn subscribe(&self) -> Result<(Watch, Changes)> {
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        let thread = match &mut *thread {
            // A panic, which is in the log, ends it and whoever watched; the next one starts anew.
            Some(running) if !running.handle.as_ref().is_some_and(JoinHandle::is_finished) => running,
            other => other.insert(Thread::start(&self.root, self.max_watches)?),
        };
        let mailbox = Arc::new(Mailbox::new(thread.bell.clone(), self.queue));
        let watch = Watch {
            subscriber: self.subscribers.fetch_add(1, Ordering::Relaxed),
            mailbox: mailbox.clone(),
            orders: thread.orders.clone(),
            bell: thread.bell.clone(),
        };
        Ok((watch, Changes(mailbox)))
    }
}

impl Thread {
    /// A thread of its own, because it looks at the disk, which may take its time, and must see what happens there soon.
    fn start(root: &Path, max_watches: Option<usize>) -> Result<Thread> {
        let why = |error: &dyn std::fmt::Display| {
            Error::new(format!("cannot watch the workspace {}: {error}", root.display()))
        };
        let bell = Arc::new(Bell::new().map_err(|error| why(&error))?);
        let (orders, receiver) = mpsc::channel(limits::WATCH_ORDERS);
        let stop = Arc::new(AtomicBool::new(false));
        let worker = Worker::new(root, max_watches, receiver, bell.clone(), stop.clone())
            .map_err(|error| why(&error))?;
        let handle = std::thread::Builder::new()
            .name("pid1-watch".to_owned())
            .spawn(move || worker.run())
            .map_err(|error| why(&error))?;
        Ok(Thread { orders, bell, stop, handle: Some(handle) })
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.bell.ring();
        if let Some(handle) = self.handle.take() {
            let _ = handle.join();
        }
    }
}

/// What one subscriber watches; the subscriptions end when it is dropped.
#[derive(Debug)]
pub struct Watch {
    subscriber: u64,
    mailbox: Arc<Mailbox>,
    orders: mpsc::Sender<Order>,
    bell: Arc<Bell>,
}

impl Watch {
    /// Watches each of `paths`, and its direct children where it is a folder. What changes after this returns is told.
    /// Paths are relative to the root, in plain names; what clients give is made so by
    /// [`Workspace::resolve`](crate::workspace::Workspace::resolve). What is watched already stays watched.
    ///
    /// # Errors
    /// If a path leads out of the workspace, or there are too many: those before it are watched, those after it are not.
    /// If the watcher has ended; then nothing more is told.
    pub async fn add(&self, paths: Vec<PathBuf>) -> Result<()> {
        self.order(paths, false).await
    }

    /// Watches `path` and everything beneath it.
    ///
    /// # Errors
    /// As [`add`](Watch::add).
    pub async fn add_tree(&self, path: PathBuf) -> Result<()> {
        self.order(vec![path], true).await
    }

    async fn order(&self, paths: Vec<PathBuf>, tree: bool) -> Result<()> {
        let (done, is_done) = oneshot::channel();
        let (subscriber, mailbox) = (self.subscriber, self.mailbox.clone());
        let gone = || {
            // A thread that never heard of this subscriber could not tell it so.
            self.mailbox.close();
            Error::new("cannot watch: the watcher has ended")
        };
        let order = Order { subscriber, mailbox, paths, tree, done };
        self.orders.send(order).await.map_err(|_| gone())?;
        self.bell.ring();
        is_done.await.map_err(|_| gone())?
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.mailbox.close();
        self.bell.ring();
    }
}

/// Where one subscriber is told.
#[derive(Debug)]
pub struct Changes(Arc<Mailbox>);

impl Changes {
    /// What is new, waiting until something is; `None` once the [`Watch`] is dropped, or the watcher has ended. Whoever is
    /// slow to ask gets what it missed as the difference between then and now: removals and creations instead of moves.
    pub async fn next(&mut self) -> Option<News> {
        self.0.next().await
    }
}

#[cfg(test)]
mod tests;
