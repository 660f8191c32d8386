//! One subscriber, as the watcher sees it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use super::listing::Listing;
use super::mailbox::Mailbox;
use super::tree::NodeId;
use crate::limits;

#[derive(Debug)]
pub(super) struct Subscriber {
    pub(super) mailbox: Arc<Mailbox>,
    /// Where its interests are, and how many names deep.
    pub(super) nodes: BTreeMap<NodeId, usize>,
    /// All those names.
    pub(super) names: usize,
    /// Folders that it does not keep up with: what it knows of them. It is sent the difference when it has room.
    pub(super) behind: BTreeMap<PathBuf, Arc<Listing>>,
    /// Folders that it was told had moved. It may ask for what it was told of before, by the name of then.
    moves: VecDeque<Moved>,
    /// It knows that something is watched badly.
    noticed: bool,
}

#[derive(Debug)]
struct Moved {
    from: PathBuf,
    to: PathBuf,
    /// When, by the clock and by the watcher's count of what was told.
    at: Instant,
    count: u64,
}

impl Moved {
    /// The path that this was before, if it was moved with it.
    fn apply(&self, path: &Path) -> Option<PathBuf> {
        let rest = path.strip_prefix(&self.from).ok()?;
        Some(self.to.components().chain(rest.components()).collect())
    }
}

impl Subscriber {
    pub(super) fn new(mailbox: Arc<Mailbox>) -> Subscriber {
        Subscriber {
            mailbox,
            nodes: BTreeMap::new(),
            names: 0,
            behind: BTreeMap::new(),
            moves: VecDeque::new(),
            noticed: false,
        }
    }

    /// Remembers that it is told of this move; false if it cannot be, because there are too many. Its subscriptions are
    /// good for the new place besides the old one: when it may not have more, it has to ask for those it wants.
    pub(super) fn may_see_move(&mut self, from: &Path, to: &Path, at: Instant, count: u64) -> bool {
        let is_old = |moved: &Moved| at.duration_since(moved.at) > limits::WATCH_MOVES_FOR;
        while self.moves.front().is_some_and(is_old) {
            self.moves.pop_front();
        }
        let fits = self.moves.len() < limits::WATCH_MOVES && self.names < limits::WATCHED_NAMES;
        if fits {
            self.moves.push_back(Moved { from: from.to_owned(), to: to.to_owned(), at, count });
        }
        fits
    }

    /// It was not told after all of what was to be told then.
    pub(super) fn saw_no_move(&mut self, count: u64) {
        self.moves.retain(|moved| moved.count != count);
    }

    /// Where that may be by now which it knew by this name, depending on when it did.
    pub(super) fn moved(&self, path: &Path) -> BTreeSet<PathBuf> {
        let from_here_on = |(at, moved): (usize, &Moved)| {
            let later = self.moves.range(at + 1..);
            Some(later.fold(moved.apply(path)?, |known, moved| moved.apply(&known).unwrap_or(known)))
        };
        self.moves.iter().enumerate().filter_map(from_here_on).collect()
    }

    /// It has an interest at this node, so many names deep.
    pub(super) fn take_on(&mut self, id: NodeId, names: usize) {
        if self.nodes.insert(id, names).is_none() {
            self.names += names;
        }
    }

    pub(super) fn let_go(&mut self, id: NodeId) {
        self.names -= self.nodes.remove(&id).unwrap_or_default();
    }

    /// Says it once.
    pub(super) fn notice(&mut self, text: &str) {
        if !std::mem::replace(&mut self.noticed, true) {
            self.mailbox.notify(text.to_owned());
        }
    }
}
