//! The watcher's thread: it alone has the tree, so there are no locks. It waits for the kernel, for orders and for the
//! time to look, and never for a subscriber.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::sync::{mpsc, oneshot};
use tracing::debug;

use super::disk::Folder;
use super::gather::HEAR_EVERY;
use super::inotify::{Inotify, Said, WatchId};
use super::listing::{Kind, Known, Marks};
use super::mailbox::{Bell, Mailbox};
use super::subscriber::Subscriber;
use super::tree::{NodeId, SubscriberId, Tree};
use crate::error::{Error, Result};
use crate::limits;

/// Somebody wants to watch more.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) subscriber: SubscriberId,
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) paths: Vec<PathBuf>,
    pub(super) tree: bool,
    pub(super) done: oneshot::Sender<Result<()>>,
}

#[derive(Debug)]
pub(super) struct Worker {
    pub(super) root: Folder,
    /// `None` if there is none to be had.
    pub(super) inotify: Option<Inotify>,
    pub(super) max_watches: usize,
    pub(super) tree: Tree,
    /// More than one is for a folder that is mounted at several places, or of whose move has not been heard yet.
    pub(super) by_watch: HashMap<WatchId, Vec<NodeId>>,
    pub(super) subscribers: BTreeMap<SubscriberId, Subscriber>,
    /// Folders to look at, and when.
    pub(super) due: BTreeSet<(Instant, NodeId)>,
    /// Folders without a watch.
    pub(super) unwatched: BTreeSet<NodeId>,
    /// What subscribers are told of that.
    pub(super) unwatched_because: String,
    /// When those are listed again.
    pub(super) relist_at: Instant,
    /// How often something was told.
    pub(super) count: u64,
    /// When the events of this turn were read.
    pub(super) now: Instant,
    /// Something moved away from there, and it is not known yet where it went.
    half_move: Option<(u32, WatchId)>,
    /// There is more to hear than fits into one turn.
    more: bool,
    /// Events were lost, or the root cannot be looked at.
    lost: bool,
    /// All is listed again at this time at the earliest.
    rescan_at: Instant,
    orders: mpsc::Receiver<Order>,
    bell: Arc<Bell>,
    stop: Arc<AtomicBool>,
}

impl Worker {
    pub(super) fn new(
        root: &Path,
        max_watches: Option<usize>,
        orders: mpsc::Receiver<Order>,
        bell: Arc<Bell>,
        stop: Arc<AtomicBool>,
    ) -> rustix::io::Result<Worker> {
        let now = Instant::now();
        Ok(Worker {
            root: Folder::root(root)?,
            inotify: None,
            max_watches: max_watches.unwrap_or_else(fair_share),
            tree: Tree::new(),
            by_watch: HashMap::new(),
            subscribers: BTreeMap::new(),
            due: BTreeSet::new(),
            unwatched: BTreeSet::new(),
            unwatched_because: String::new(),
            relist_at: now,
            count: 0,
            now,
            half_move: None,
            more: false,
            lost: false,
            rescan_at: now,
            orders,
            bell,
            stop,
        })
    }

    pub(super) fn run(mut self) {
        while !self.is_stopping() {
            self.wait();
            self.bell.silence();
            self.hear_and_look();
            self.take_orders();
            self.look_at_unwatched();
            self.catch_up();
        }
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Sleeps until there is something to do.
    fn wait(&self) {
        let due = self.due.first().map(|(at, _)| *at);
        let rescan = self.lost.then_some(self.rescan_at);
        let unwatched = (!self.unwatched.is_empty()).then_some(self.relist_at);
        let next = [due, rescan, unwatched].into_iter().flatten().min();
        let timeout = match next {
            _ if self.more => Some(Duration::ZERO),
            at => at.map(|at| at.saturating_duration_since(Instant::now())),
        };
        let bell = PollFd::new(&self.bell, PollFlags::IN);
        let mut sources = vec![bell];
        sources.extend(self.inotify.as_ref().map(|inotify| PollFd::new(inotify, PollFlags::IN)));
        // A signal wakes it early, which does no harm.
        let _ = poll(&mut sources, timeout.map(timespec).as_ref());
    }

    /// Takes what the kernel has said, and notes where to look.
    pub(super) fn hear(&mut self) {
        let Some(mut inotify) = self.inotify.take() else { return };
        self.more = !inotify.drain(limits::WATCH_EVENTS, |said| self.take_in(said));
        if self.half_move.is_some() && !self.more {
            // The other half, if there is one, is on its way: the kernel says both in one go.
            let mut source = [PollFd::new(&inotify, PollFlags::IN)];
            let _ = poll(&mut source, Some(&timespec(limits::WATCH_HALF_MOVE)));
            self.more = !inotify.drain(limits::WATCH_EVENTS, |said| self.take_in(said));
        }
        self.half_move = None;
        self.inotify = Some(inotify);
    }

    fn take_in(&mut self, said: Said) {
        match said {
            Said::Name(watch, name, marks, cookie) => {
                let nodes = self.by_watch.get(&watch).into_iter().flatten().copied();
                let interest = |id: &NodeId| !self.is_hidden(*id, &name) && self.matters(*id, &name);
                let nodes: Vec<NodeId> = nodes.filter(interest).collect();
                if nodes.is_empty() {
                    return;
                }
                for id in nodes {
                    self.mark(id, name.clone(), marks);
                }
                if marks.from {
                    self.half_move = Some((cookie, watch));
                } else if marks.to
                    && let Some((_, from)) = self.half_move.take_if(|(half, _)| *half == cookie)
                {
                    self.look_together(from, watch);
                }
            }
            Said::Folder(watch) => {
                for id in self.by_watch.get(&watch).cloned().unwrap_or_default() {
                    self.tree[id].relist = true;
                    self.schedule(id);
                }
            }
            Said::Ended(watch) => {
                for id in self.by_watch.remove(&watch).unwrap_or_default() {
                    self.tree[id].live = None;
                    self.suspect(id);
                }
            }
            Said::Lost => self.lost = true,
        }
    }

    /// A name is to be looked at.
    pub(super) fn mark(&mut self, id: NodeId, name: Box<std::ffi::OsStr>, marks: Marks) {
        let node = &mut self.tree[id];
        let is_folder = |known: &Known| known.entry.kind == Kind::Folder;
        // What a list would not show is that a folder was replaced.
        if !node.relist || (marks.gone && node.listing.get(&name).is_some_and(is_folder)) {
            node.dirty.entry(name).or_default().add(marks);
        }
        if node.dirty.len() > limits::WATCH_NAMES {
            // Listing the folder costs less than keeping more.
            node.relist = true;
        }
        self.schedule(id);
    }

    /// The folder may no longer be what is at its path: whoever knows of its name looks. The root is held open and never
    /// another: it will be back.
    pub(super) fn suspect(&mut self, id: NodeId) {
        let node = &self.tree[id];
        match node.parent {
            Some(parent) => self.mark(parent, node.name.clone(), Marks { gone: true, ..Marks::default() }),
            None => self.lost = true,
        }
    }

    /// Looks at once if the folder has been quiet, else when the time of gathering is over.
    pub(super) fn schedule(&mut self, id: NodeId) {
        let node = &mut self.tree[id];
        if node.due.is_none() {
            let at = node.quiet_at.map_or(self.now, |quiet_at| quiet_at.max(self.now));
            node.due = Some(at);
            self.due.insert((at, id));
        }
    }

    pub(super) fn unschedule(&mut self, id: NodeId) {
        if let Some(at) = self.tree[id].due.take() {
            self.due.remove(&(at, id));
        }
    }

    /// Both ends of a move are looked at in the same turn, or it could not be told as one.
    fn look_together(&mut self, one: WatchId, other: WatchId) {
        let nodes = [one, other].into_iter().filter_map(|watch| self.by_watch.get(&watch)).flatten();
        let nodes: Vec<NodeId> = nodes.copied().collect();
        let at = nodes.iter().filter_map(|id| self.tree[*id].due).min();
        for id in nodes {
            self.unschedule(id);
            self.tree[id].due = at;
            self.due.extend(at.map(|at| (at, id)));
        }
    }

    fn take_orders(&mut self) {
        while let Ok(order) = self.orders.try_recv() {
            let mailbox = &order.mailbox;
            self.subscribers.entry(order.subscriber).or_insert_with(|| Subscriber::new(mailbox.clone()));
            let result = self.carry_out(&order);
            // Whoever has left meanwhile does not wait.
            let _ = order.done.send(result);
        }
        let closed = self.subscribers.iter().filter(|(_, subscriber)| subscriber.mailbox.is_closed());
        for id in closed.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.unsubscribe(id);
        }
    }

    fn carry_out(&mut self, order: &Order) -> Result<()> {
        for path in &order.paths {
            if order.done.is_closed() || self.is_stopping() {
                return Err(Error::new("cannot watch: nobody waits for it any more"));
            }
            let subscriber = order.subscriber;
            let moved = self.subscribers.get(&subscriber).map(|subscriber| subscriber.moved(path));
            self.add(subscriber, path, order.tree)?;
            for path in moved.into_iter().flatten() {
                self.add(subscriber, &path, order.tree)?;
            }
            if self.now.elapsed() > HEAR_EVERY {
                // Others wait for what happens meanwhile.
                self.hear_and_look();
            }
        }
        Ok(())
    }

    fn hear_and_look(&mut self) {
        self.now = Instant::now();
        self.hear();
        if self.lost && self.now >= self.rescan_at {
            self.lost = false;
            debug!(
                "inotify lost events, or cannot look at the workspace: everything watched is listed again"
            );
            let is_all = self.rescan();
            self.lost |= !is_all;
            let rest = if is_all { limits::WATCH_WINDOW } else { limits::WATCH_RETRY };
            // At most a third of the time goes into this, however much is lost.
            self.rescan_at = Instant::now() + rest + 2 * self.now.elapsed();
        }
        self.look(self.now);
    }

    fn look_at_unwatched(&mut self) {
        if !self.unwatched.is_empty() && self.now >= self.relist_at {
            let begin = Instant::now();
            self.watch_or_relist();
            self.look(begin);
            // At most a twentieth of the time goes into this, however much is not watched.
            self.relist_at = Instant::now() + limits::WATCH_RELIST.max(20 * begin.elapsed());
        }
    }
}

impl Drop for Worker {
    /// However it ends: nobody waits for what will not come.
    fn drop(&mut self) {
        for subscriber in self.subscribers.values() {
            subscriber.mailbox.close();
        }
    }
}

/// Half of what the user may have: programs watch, too.
fn fair_share() -> usize {
    let limit = std::fs::read_to_string("/proc/sys/fs/inotify/max_user_watches");
    let limit: Option<usize> = limit.ok().and_then(|text| text.trim().parse().ok());
    limit.map_or(limits::WATCHES_UNKNOWN, |limit| limit / 2)
}

fn timespec(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: duration.as_secs().try_into().unwrap_or(i64::MAX),
        tv_nsec: duration.subsec_nanos().into(),
    }
}
