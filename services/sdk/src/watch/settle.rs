//! From what is different to what is known from then on, and what is watched from then on.

use std::sync::Arc;
use std::time::Instant;

use super::gather::{Batch, HEAR_EVERY};
use super::listing::{Kind, Known};
use super::reconcile::{Step, reconcile};
use super::tell::Seen;
use super::tree::NodeId;
use super::worker::Worker;
use crate::limits;

impl Worker {
    /// Tells what is different, then what is in folders that have come, level by level.
    pub(super) fn settle_all(&mut self, mut batch: Batch) {
        while !batch.slots.is_empty() && !self.is_stopping() {
            let fresh = self.settle(&batch);
            batch = Batch::default();
            let mut heard = Instant::now();
            for id in fresh {
                // One that was forgotten meanwhile may be gone for good.
                if !self.tree.contains(id) || self.tree[id].live.is_some() {
                    continue;
                }
                match self.begin(id, None) {
                    Some(folder) => {
                        self.newcomers(id, &folder, &mut batch);
                        // Whoever made it is likely to go on.
                        self.tree[id].quiet_at = Some(Instant::now() + limits::WATCH_WINDOW);
                    }
                    None => self.prune(id),
                }
                if heard.elapsed() > HEAR_EVERY {
                    self.hear();
                    heard = Instant::now();
                }
            }
            // What was heard may have taken a folder out of the tree.
            batch.retain(|id| self.tree.contains(id));
        }
    }

    fn settle(&mut self, batch: &Batch) -> Vec<NodeId> {
        let steps = reconcile(&batch.slots);
        self.count += 1;
        let seen = self.tell(batch, &steps);
        self.learn(batch, &steps);
        self.adapt(batch, &steps, &seen)
    }

    /// From here on this is what clients know, or will know when they have caught up.
    fn learn(&mut self, batch: &Batch, steps: &[Step]) {
        let mut told = vec![false; batch.slots.len()];
        for step in steps {
            match *step {
                Step::Create(at) | Step::Modify(at) | Step::Move(_, at) => told[at] = true,
                Step::Remove(_) => {}
            }
        }
        for (at, ((id, name), slot)) in batch.places.iter().zip(&batch.slots).enumerate() {
            if slot.old == slot.new && !told[at] {
                continue;
            }
            let listing = Arc::make_mut(&mut self.tree[*id].listing);
            match slot.new {
                None => drop(listing.remove(name)),
                Some(entry) => {
                    let before = listing.get(name).map_or(0, |known| known.told);
                    let told = if told[at] { self.count } else { before };
                    listing.insert(name.clone(), Known { entry, told });
                }
            }
        }
    }

    /// Watches what has come, forgets what has gone, follows what has moved. The folders that are to be listed.
    fn adapt(&mut self, batch: &Batch, steps: &[Step], seen: &Seen) -> Vec<NodeId> {
        let mut fresh = Vec::new();
        let (mut came, mut followed) = (vec![false; batch.slots.len()], vec![false; batch.slots.len()]);
        for step in steps {
            match *step {
                Step::Move(from, to) => {
                    came[to] = true;
                    let (from, dest, seen) = (&batch.places[from], &batch.places[to], &seen[&to]);
                    followed[to] = batch.slots[to].new.is_some_and(|new| new.kind == Kind::Folder)
                        // Unless it went with what was overwritten before.
                        && [from.0, dest.0].iter().all(|id| self.tree.contains(*id))
                        && self.follow((from.0, &from.1), (dest.0, &dest.1), seen);
                }
                Step::Create(at) => came[at] = true,
                Step::Remove(_) | Step::Modify(_) => {}
            }
        }
        for (at, ((id, name), slot)) in batch.places.iter().zip(&batch.slots).enumerate() {
            if followed[at] || !self.tree.contains(*id) {
                continue;
            }
            let is_folder = slot.new.is_some_and(|new| new.kind == Kind::Folder);
            match self.tree.child(*id, name) {
                Some(child) if is_folder && !came[at] && self.tree[child].live.is_some() => {}
                Some(child) => self.forget(child),
                None => {}
            }
            if !is_folder {
                continue;
            }
            if self.tree.in_tree(*id) {
                self.tree.child_or_new(*id, name);
            }
            fresh.extend(self.tree.child(*id, name));
        }
        fresh
    }

    /// There is no folder here any more, or another one: nothing beneath is known.
    pub(super) fn forget(&mut self, id: NodeId) {
        self.clear(id);
        for id in self.tree.below(id).into_iter().rev() {
            self.prune(id);
        }
    }

    /// The same, and the nodes stay.
    pub(super) fn clear(&mut self, id: NodeId) {
        self.tell_gone(id);
        for id in self.tree.below(id) {
            self.end_watch(id);
            self.unschedule(id);
            let node = &mut self.tree[id];
            node.dirty.clear();
            node.relist = false;
            node.listing = Arc::default();
        }
    }

    /// Takes the node out if it is there for no reason, and then perhaps those above it.
    pub(super) fn prune(&mut self, mut id: NodeId) {
        while self.tree.contains(id) && !self.tree.is_needed(id) {
            self.end_watch(id);
            self.unschedule(id);
            let Some(parent) = self.tree.remove(id) else { return };
            id = parent;
        }
    }
}
