//! From steps to what each subscriber is told: each sees its own part of the tree.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use super::gather::Batch;
use super::listing::{Entry, Kind};
use super::reconcile::Step;
use super::tree::{NodeId, SubscriberId, Tree};
use super::worker::Worker;
use super::{Change, What};

/// Who was told of a move as a move, by the place of its destination in the batch.
pub(super) type Seen = BTreeMap<usize, BTreeSet<SubscriberId>>;

/// What one subscriber is told, and of which folders.
#[derive(Default)]
struct Letter {
    changes: Vec<Arc<Change>>,
    nodes: Vec<NodeId>,
}

impl Letter {
    fn add(&mut self, id: NodeId, change: &Arc<Change>) {
        self.changes.push(change.clone());
        if self.nodes.last() != Some(&id) {
            self.nodes.push(id);
        }
    }
}

/// The letters of one batch, while they are written.
struct Desk<'a> {
    batch: &'a Batch,
    letters: BTreeMap<SubscriberId, Letter>,
    /// Of each folder: its path, and who is told of all in it.
    folders: BTreeMap<NodeId, (PathBuf, BTreeSet<SubscriberId>)>,
}

impl Desk<'_> {
    /// The path of a slot, and who is told of it.
    fn look_up(&mut self, tree: &Tree, at: usize) -> (PathBuf, BTreeSet<SubscriberId>) {
        let (id, name) = &self.batch.places[at];
        let (path, audience) =
            self.folders.entry(*id).or_insert_with(|| (tree.path(*id), tree.audience(*id)));
        let all = audience.iter().copied().chain(tree.own_audience(*id, name)).collect();
        (path.join(&**name), all)
    }

    fn write(&mut self, at: usize, change: Change, to: impl IntoIterator<Item = SubscriberId>) {
        let change = Arc::new(change);
        for to in to {
            self.letters.entry(to).or_default().add(self.batch.places[at].0, &change);
        }
    }
}

fn kind(entry: Option<Entry>) -> Kind {
    entry.map_or(Kind::File, |entry| entry.kind)
}

impl Worker {
    pub(super) fn tell(&mut self, batch: &Batch, steps: &[Step]) -> Seen {
        let mut desk = Desk { batch, letters: BTreeMap::new(), folders: BTreeMap::new() };
        let mut seen = Seen::new();
        for step in steps {
            let (at, entry, what) = match *step {
                Step::Create(at) => (at, batch.slots[at].new, What::Create),
                Step::Remove(at) => (at, batch.slots[at].old, What::Remove),
                Step::Modify(at) => (at, batch.slots[at].new, What::Modify),
                Step::Move(from, to) => {
                    seen.insert(to, self.write_move(&mut desk, from, to));
                    continue;
                }
            };
            let (path, to) = desk.look_up(&self.tree, at);
            desk.write(at, Change { path, kind: kind(entry), what }, to);
        }
        for (to, Letter { changes, nodes }) in desk.letters {
            if self.send(to, &changes, &nodes) {
                continue;
            }
            for seen in seen.values_mut() {
                seen.remove(&to);
            }
            if let Some(subscriber) = self.subscribers.get_mut(&to) {
                subscriber.saw_no_move(self.count);
            }
        }
        seen
    }

    /// A move is one only to those who see both ends.
    fn write_move(&mut self, desk: &mut Desk<'_>, from: usize, to: usize) -> BTreeSet<SubscriberId> {
        let (path, here) = desk.look_up(&self.tree, from);
        let (dest, there) = desk.look_up(&self.tree, to);
        let kind = kind(desk.batch.slots[to].new);
        let mut seen: BTreeSet<SubscriberId> = here.intersection(&there).copied().collect();
        if kind == Kind::Folder {
            let (id, name) = &desk.batch.places[from];
            let old = self.tree.child(*id, name).map(|old| &self.tree[old]);
            if old.is_some_and(|old| old.live.is_none() && !old.listing.is_empty()) {
                // It was lost sight of: what clients know of its content must not go with it.
                seen.clear();
            }
            seen.retain(|id| {
                let subscriber = self.subscribers.get_mut(id);
                subscriber
                    .is_some_and(|subscriber| subscriber.may_see_move(&path, &dest, self.now, self.count))
            });
        }
        let change = |path: &PathBuf, what| Change { path: path.clone(), kind, what };
        desk.write(from, change(&path, What::Remove), here.difference(&seen).copied());
        desk.write(to, change(&dest, What::Create), there.difference(&seen).copied());
        desk.write(from, change(&path, What::Move(dest.clone())), seen.iter().copied());
        for id in &seen {
            // Both folders have changed.
            desk.letters.entry(*id).or_default().nodes.push(desk.batch.places[to].0);
        }
        seen
    }

    /// What is beneath this path is gone, and whoever is told of the path itself was told so. Tells the others, who watch
    /// only something beneath it.
    pub(super) fn tell_gone(&mut self, top: NodeId) {
        let Some(parent) = self.tree[top].parent else { return };
        let below = self.tree.below(top);
        let interests =
            below.iter().flat_map(|id| self.tree[*id].watchers.iter().chain(&self.tree[*id].trees));
        let mut unaware: BTreeSet<SubscriberId> = interests.map(|interest| interest.subscriber).collect();
        unaware.retain(|to| !self.tree.is_told(*to, parent, &self.tree[top].name));
        for to in unaware {
            let mut folders = vec![top];
            while let Some(id) = folders.pop() {
                let (path, mut changes) = (self.tree.path(id), Vec::new());
                for (name, known) in self.tree[id].listing.iter() {
                    if self.tree.is_told(to, id, name) {
                        let path = path.join(&**name);
                        changes.push(Arc::new(Change { path, kind: known.entry.kind, what: What::Remove }));
                    } else {
                        folders.extend(self.tree.child(id, name));
                    }
                }
                if !changes.is_empty() {
                    self.send(to, &changes, &[id]);
                }
            }
        }
        // Whoever is behind will be told of the removal of a folder, and then knows nothing of its content.
        for id in below {
            let path = self.tree.path(id);
            for (to, subscriber) in self.subscribers.iter_mut().filter(|(_, one)| !one.behind.is_empty()) {
                let is_told = |id: NodeId| {
                    let node = &self.tree[id];
                    node.parent.is_some_and(|parent| self.tree.is_told(*to, parent, &node.name))
                };
                let knew = subscriber.behind.contains_key(&path) || !self.tree[id].listing.is_empty();
                let within = self.tree.up(id).take_while(|id| *id != parent);
                if knew && within.into_iter().any(is_told) {
                    subscriber.behind.insert(path.clone(), Arc::default());
                }
            }
        }
    }

    /// Tells a subscriber, or, if it has no room or is behind already, notes what it knows of these folders.
    fn send(&mut self, to: SubscriberId, changes: &[Arc<Change>], nodes: &[NodeId]) -> bool {
        let Some(subscriber) = self.subscribers.get_mut(&to) else { return false };
        let is_sent = subscriber.behind.is_empty() && subscriber.mailbox.offer(changes);
        for id in nodes.iter().filter(|_| !is_sent) {
            let known = &self.tree[*id].listing;
            subscriber.behind.entry(self.tree.path(*id)).or_insert_with(|| known.clone());
        }
        is_sent
    }
}
