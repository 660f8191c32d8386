//! From where to look to what is there: folders are opened, watched, listed and looked at.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::disk::Folder;
use super::inotify::{Inotify, WatchId};
use super::listing::{Entry, Kind, Marks, Name};
use super::reconcile::Slot;
use super::tree::{Live, NodeId, Tree};
use super::worker::Worker;
use crate::limits;
use crate::workspace::{HIDDEN, is_temporary};

/// Names that may have changed. A folder's name stands before those in it.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) places: Vec<(NodeId, Name)>,
    pub(super) slots: Vec<Slot>,
    /// Folders that may be gone, or others, by what their own names show.
    unsure: BTreeSet<NodeId>,
}

impl Batch {
    fn add(&mut self, id: NodeId, name: Name, slot: Slot) {
        self.places.push((id, name));
        self.slots.push(slot);
    }

    /// Keeps the names of those folders.
    pub(super) fn retain(&mut self, keep: impl Fn(NodeId) -> bool) {
        let kept: Vec<bool> = self.places.iter().map(|(id, _)| keep(*id)).collect();
        let (mut places, mut slots) = (kept.iter(), kept.iter());
        self.places.retain(|_| places.next() == Some(&true));
        self.slots.retain(|_| slots.next() == Some(&true));
    }
}

impl Worker {
    /// What no client is told of: the state of the agent itself, and files that are being written.
    pub(super) fn is_hidden(&self, id: NodeId, name: &OsStr) -> bool {
        (id == Tree::ROOT && name == HIDDEN) || is_temporary(name)
    }

    /// Whether anybody is interested in this child.
    pub(super) fn matters(&self, id: NodeId, name: &OsStr) -> bool {
        self.tree.child(id, name).is_some() || self.tree.wants_all(id)
    }

    /// Looks at all that is due by `until`, and tells what is different.
    pub(super) fn look(&mut self, until: Instant) {
        let mut nodes = Vec::new();
        while let Some(&(at, id)) = self.due.first().filter(|(at, _)| *at <= until) {
            self.due.remove(&(at, id));
            let node = &mut self.tree[id];
            (node.due, node.quiet_at) = (None, Some(until + limits::WATCH_WINDOW));
            nodes.push((self.tree.path(id), id));
        }
        if !nodes.is_empty() {
            nodes.sort_unstable();
            let mut batch = Batch::default();
            for (_, id) in nodes {
                self.gather(id, &mut batch);
            }
            self.settle_all(batch);
        }
    }

    fn gather(&mut self, id: NodeId, batch: &mut Batch) {
        let node = &mut self.tree[id];
        let (marked, relist) = (std::mem::take(&mut node.dirty), std::mem::take(&mut node.relist));
        let Some(live) = node.live else { return };
        if self.tree.up(id).any(|id| batch.unsure.contains(&id)) {
            // Nothing may be told of a folder after its removal.
            return self.put_off(id, marked);
        }
        let folder = match self.root.open(&self.tree.path(id)) {
            Ok(folder) if folder.id == live.id => folder,
            other => {
                self.put_off(id, marked);
                let is_passing = other.is_err_and(is_passing);
                return match (!is_passing).then(|| self.first_lost(id)).flatten() {
                    Some(lost) => self.suspect(lost),
                    None => self.look_later(id),
                };
            }
        };
        let mut names: BTreeSet<Name> = marked.keys().cloned().collect();
        if relist {
            names.extend(self.names(id, &folder).into_iter().filter(|name| !self.is_hidden(id, name)));
            let node = &self.tree[id];
            names.extend(node.listing.keys().chain(node.children.keys()).cloned());
            if !self.tree.wants_all(id) {
                names.retain(|name| node.children.contains_key(name));
            }
        }
        for name in names {
            let old = self.tree[id].listing.get(&name).map(|known| known.entry);
            let mut marks = marked.get(&name).copied().unwrap_or_default();
            // A folder that was lost sight of may be another by now.
            let child = self.tree.child(id, &name).map(|child| &self.tree[child]);
            marks.gone |= child.is_some_and(|child| child.live.is_none() && !child.listing.is_empty());
            let mut slot = Slot { old, new: folder.look(&name), marks };
            if marks.gone && slot.old.is_none() && slot.new.is_none() && self.is_young(id) {
                slot.marks.brief = true;
            }
            let same = slot.old == slot.new && !(marks.gone || marks.written);
            if !same || self.lacks(id, &name, slot.new) {
                batch.unsure.extend(self.tree.child(id, &name).filter(|_| !same));
                batch.add(id, name, slot);
            }
        }
    }

    /// Whether somebody may just be listing this folder: what came and went meanwhile may be in that list.
    fn is_young(&self, id: NodeId) -> bool {
        self.tree[id].young_until.is_some_and(|until| self.now < until)
    }

    /// Whether there is a folder that should be watched and is not.
    fn lacks(&self, id: NodeId, name: &OsStr, there: Option<Entry>) -> bool {
        there.is_some_and(|there| there.kind == Kind::Folder)
            && match self.tree.child(id, name) {
                Some(child) => self.tree[child].live.is_none(),
                None => self.tree.in_tree(id),
            }
    }

    /// Of a folder that is not where it was and those above it: the one whose parent still is. It alone has moved or gone.
    /// `None` if that cannot be said now.
    fn first_lost(&self, id: NodeId) -> Option<NodeId> {
        let mut lost = id;
        for id in self.tree.up(id) {
            match self.root.open(&self.tree.path(id)) {
                Ok(folder) if self.tree[id].live.is_some_and(|live| live.id == folder.id) => break,
                Err(error) if is_passing(error) => return None,
                _ => lost = id,
            }
        }
        Some(lost)
    }

    /// If the folder is still there, or elsewhere, it is listed then.
    fn put_off(&mut self, id: NodeId, marked: BTreeMap<Name, Marks>) {
        let node = &mut self.tree[id];
        node.relist = true;
        for (name, marks) in marked {
            node.dirty.entry(name).or_default().add(marks);
        }
    }

    /// The folder at this path; if it cannot be opened now, it is listed later.
    pub(super) fn open(&mut self, id: NodeId) -> Option<Folder> {
        let folder = self.root.open(&self.tree.path(id));
        if folder.as_ref().is_err_and(|error| is_passing(*error)) {
            self.look_later(id);
        }
        folder.ok()
    }

    /// All names in a folder; if they cannot be had now, it is listed later.
    pub(super) fn names(&mut self, id: NodeId, folder: &Folder) -> Vec<Name> {
        let names = folder.names();
        if names.as_ref().is_err_and(|error| is_passing(*error)) {
            self.look_later(id);
        }
        names.unwrap_or_default()
    }

    /// Something is in the way that will not be there for long.
    fn look_later(&mut self, id: NodeId) {
        let node = &mut self.tree[id];
        node.relist = true;
        node.quiet_at = Some(self.now + limits::WATCH_RETRY);
        self.schedule(id);
    }

    /// Watches the folder at this path, if there is one; nothing is known of it yet. First watched, then listed:
    /// what comes in between is seen twice, never missed.
    pub(super) fn begin(&mut self, id: NodeId) -> Option<Folder> {
        let folder = match self.root.open(&self.tree.path(id)) {
            Ok(folder) => folder,
            Err(error) => {
                // A folder that should be watched and is not is tried again when its name is looked at, where its
                // parent is by then.
                let node = &self.tree[id];
                match (node.parent, error) {
                    (None, _) => self.suspect(id),
                    (Some(parent), error) if is_passing(error) => self.look_later(parent),
                    (Some(parent), Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {
                        self.mark(parent, node.name.clone(), Marks::default());
                    }
                    _ => {}
                }
                return None;
            }
        };
        let watch = self.watch(&folder);
        self.set_live(id, &folder, watch);
        Some(folder)
    }

    fn set_live(&mut self, id: NodeId, folder: &Folder, watch: Option<WatchId>) {
        match watch {
            Some(watch) => {
                self.unwatched.remove(&id);
                if let Some(other) = self.by_watch.insert(watch, id).filter(|other| *other != id) {
                    // The same folder, before it was moved.
                    self.tree[other].live = None;
                    self.suspect(other);
                }
            }
            None => {
                if self.unwatched.is_empty() {
                    self.relist_at = self.now + limits::WATCH_RELIST;
                }
                self.unwatched.insert(id);
            }
        }
        self.tree[id].live = Some(Live { id: folder.id, watch });
    }

    /// All names of a folder that has just begun, as what has come.
    pub(super) fn newcomers(&mut self, id: NodeId, folder: &Folder, batch: &mut Batch) {
        for name in self.names(id, folder) {
            if self.is_hidden(id, &name) || !self.matters(id, &name) {
                continue;
            }
            let old = self.tree[id].listing.get(&name).map(|known| known.entry);
            let slot = Slot { old, new: folder.look(&name), marks: Marks::default() };
            batch.add(id, name, slot);
        }
    }

    /// A watch for the folder, `None` if there is none to be had, of which people are then told.
    fn watch(&mut self, folder: &Folder) -> Option<WatchId> {
        if self.inotify.is_none() {
            match Inotify::new() {
                Ok(inotify) => self.inotify = Some(inotify),
                Err(error) => {
                    self.notice(format!(
                        "there is no inotify instance to be had ({error}): end programs that watch files, or raise \
                         fs.inotify.max_user_instances"
                    ));
                    return None;
                }
            }
        }
        let inotify = self.inotify.as_ref()?;
        if self.by_watch.len() >= self.max_watches {
            self.notice(format!(
                "all {} watches that the agent may have are used: raise --max-watches or fs.inotify.max_user_watches",
                self.max_watches
            ));
            return None;
        }
        match inotify.watch(folder) {
            Ok(watch) => Some(watch),
            Err(Errno::NOSPC) => {
                self.notice(
                    "the system gives no more inotify watches: raise fs.inotify.max_user_watches on the host, as by \
                     sysctl fs.inotify.max_user_watches=1048576"
                        .to_owned(),
                );
                None
            }
            // Somebody else's folder, which cannot be listed either.
            Err(Errno::ACCESS) => None,
            Err(error) => {
                self.notice(format!("the system says: {error}"));
                None
            }
        }
    }

    fn notice(&mut self, why: String) {
        self.unwatched_because =
            format!("Changes in some folders are seen only every few seconds, because {why}");
        for subscriber in self.subscribers.values_mut() {
            subscriber.notice(&self.unwatched_because);
        }
    }

    /// Tries again to watch what is not watched, and has it all listed.
    pub(super) fn watch_or_relist(&mut self) {
        for id in self.unwatched.clone() {
            let path = self.tree.path(id);
            match (self.tree[id].live, self.root.open(&path)) {
                (Some(live), Ok(folder)) if folder.id == live.id => {
                    let watch = self.watch(&folder);
                    self.set_live(id, &folder, watch);
                    self.relist(id);
                }
                (_, Err(error)) if is_passing(error) => {}
                _ => self.suspect(id),
            }
        }
    }

    /// Events were lost: everything is listed again. False if something is in the way, so that it must be done again.
    pub(super) fn rescan(&mut self) -> bool {
        if self.tree[Tree::ROOT].live.is_none() && self.begin(Tree::ROOT).is_none() {
            return false;
        }
        let mut is_all = true;
        for id in self.tree.below(Tree::ROOT) {
            let Some(live) = self.tree[id].live else { continue };
            match self.watch_again(id, live) {
                Ok(watch) if watch == live.watch => self.relist(id),
                // Nothing beneath can be looked at.
                Err(_) if id == Tree::ROOT => return false,
                Err(error) if is_short(error) => is_all = false,
                other => {
                    if let (Ok(Some(new)), Some(inotify)) = (other, &self.inotify)
                        && !self.by_watch.contains_key(&new)
                    {
                        inotify.unwatch(new);
                    }
                    self.end_watch(id);
                    self.suspect(id);
                }
            }
        }
        is_all
    }

    /// The watch of the folder, if it is still at this path: a watch that has ended unheard is known by its new number.
    fn watch_again(&self, id: NodeId, live: Live) -> rustix::io::Result<Option<WatchId>> {
        let folder = self.root.open(&self.tree.path(id))?;
        match &self.inotify {
            _ if folder.id != live.id => Err(Errno::NOENT),
            Some(inotify) if live.watch.is_some() => match inotify.watch(&folder) {
                Err(error) if !is_short(error) => Ok(None),
                watch => watch.map(Some),
            },
            _ => Ok(None),
        }
    }

    fn relist(&mut self, id: NodeId) {
        self.tree[id].relist = true;
        self.tree[id].quiet_at = None;
        self.unschedule(id);
        self.schedule(id);
    }

    /// There is nothing here any more.
    pub(super) fn end_watch(&mut self, id: NodeId) {
        self.unwatched.remove(&id);
        if let Some(Live { watch: Some(watch), .. }) = self.tree[id].live.take() {
            self.by_watch.remove(&watch);
            if let Some(inotify) = &self.inotify {
                inotify.unwatch(watch);
            }
        }
    }
}

/// Whether an error says nothing about what is there.
fn is_passing(error: Errno) -> bool {
    is_short(error) || matches!(error, Errno::IO | Errno::INTR | Errno::STALE)
}

/// Whether an error says nothing about the folder, and would be the same with any other.
fn is_short(error: Errno) -> bool {
    matches!(error, Errno::MFILE | Errno::NFILE | Errno::NOMEM)
}

/// How long a look at everything may take before what the kernel says meanwhile is heard.
pub(super) const HEAR_EVERY: Duration = Duration::from_millis(20);
