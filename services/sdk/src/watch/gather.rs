//! From where to look to what is there: folders are opened, watched, listed and looked at.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::disk::{Folder, is_passing};
use super::listing::{Entry, Kind, Marks, Name};
use super::reconcile::Slot;
use super::tree::{NodeId, Tree};
use super::worker::Worker;
use crate::limits;
use crate::workspace::{is_hidden, is_temporary};

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
        (id == Tree::ROOT && is_hidden(name)) || is_temporary(name)
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
    /// what comes in between is seen twice, never missed. Whoever has the folder above it open can save the way there.
    pub(super) fn begin(&mut self, id: NodeId, above: Option<&Folder>) -> Option<Folder> {
        let folder = above
            .map_or_else(|| self.root.open(&self.tree.path(id)), |above| above.child(&self.tree[id].name));
        let folder = match folder {
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
}

/// How long a look at everything may take before what the kernel says meanwhile is heard.
pub(super) const HEAR_EVERY: Duration = Duration::from_millis(20);
