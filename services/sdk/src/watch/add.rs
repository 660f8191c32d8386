//! Subscribing and unsubscribing.

use std::ffi::OsStr;
use std::path::{Component, Path};
use std::sync::Arc;

use super::disk::Folder;
use super::gather::Batch;
use super::listing::{Kind, Known, Name};
use super::subscriber::Subscriber;
use super::tree::{Interest, NodeId, SubscriberId, Tree};
use super::worker::Worker;
use crate::error::{Error, Result, printable};
use crate::limits;

impl Worker {
    pub(super) fn add(&mut self, subscriber: SubscriberId, path: &Path, tree: bool) -> Result<()> {
        let names = names(path)?;
        if !self.make_room(subscriber, names.len() + 1) {
            return Err(Error::new(format!(
                "cannot watch {}: there is no room for its {} names, because this client watches too much; the paths of \
                 one may have {} names together",
                printable(&path.to_string_lossy()),
                names.len(),
                limits::WATCHED_NAMES
            )));
        }
        let mut id = Tree::ROOT;
        // The folder there, where it had to be opened: reached from the root each time, a deep one would take long.
        let mut folder = self.arrive(id, None);
        for name in names {
            if self.is_hidden(id, name) {
                // As good as not there, now and ever.
                self.prune(id);
                return Ok(());
            }
            (id, folder) = self.step_down(id, name, folder);
        }
        let (had_all, was_in_tree) = (self.tree.wants_all(id), self.tree.in_tree(id));
        if self.note(subscriber, id, tree) {
            if !had_all {
                self.take_as_known(id);
            }
            if self.came_since(subscriber, id) {
                self.greet(id, subscriber);
            }
            if tree && !was_in_tree {
                self.add_beneath(subscriber, id);
            }
        }
        Ok(())
    }

    /// Watches the folder at this node if there is one and it is not watched yet. To whoever waited for it, all in it is
    /// new.
    fn arrive(&mut self, id: NodeId, above: Option<&Folder>) -> Option<Folder> {
        if self.tree[id].live.is_some() {
            return None;
        }
        if !self.tree[id].listing.is_empty() {
            // Another folder than the one that was here. That it was replaced is told when its name is looked at.
            self.clear(id);
            self.suspect(id);
        }
        let folder = self.begin(id, above)?;
        let mut batch = Batch::default();
        self.newcomers(id, &folder, &mut batch);
        self.settle_all(batch);
        Some(folder)
    }

    fn step_down(
        &mut self,
        id: NodeId,
        name: &OsStr,
        mut folder: Option<Folder>,
    ) -> (NodeId, Option<Folder>) {
        // Whatever mattered before is known, or the kernel has said something that has not been looked at yet.
        let is_known = self.matters(id, name);
        let child = self.tree.child_or_new(id, name);
        if self.tree[id].live.is_none() {
            return (child, None);
        }
        if !is_known {
            folder = folder.or_else(|| self.open(id));
            if let Some(entry) = folder.as_ref().and_then(|folder| folder.look(name)) {
                Arc::make_mut(&mut self.tree[id].listing).insert(name.into(), Known { entry, told: 0 });
            }
        }
        let known = self.tree[id].listing.get(name);
        let is_folder = known.is_some_and(|known| known.entry.kind == Kind::Folder);
        (child, if is_folder { self.arrive(child, folder.as_ref()) } else { None })
    }

    /// Whether the subscriber may have so many names more. Paths that are gone, and of whose return it would be told, make
    /// room: that is what installing packages leaves behind.
    fn make_room(&mut self, subscriber: SubscriberId, more: usize) -> bool {
        let Some(known) = self.subscribers.get(&subscriber) else { return false };
        let fits = |known: &Subscriber| known.names + more <= limits::WATCHED_NAMES;
        if fits(known) {
            return true;
        }
        let is_gone = |id: &NodeId| {
            let node = &self.tree[*id];
            node.live.is_none()
                && node.parent.is_some_and(|parent| {
                    self.tree.is_told_all(subscriber, parent)
                        && !self.tree[parent].listing.contains_key(&node.name)
                })
        };
        let gone: Vec<NodeId> = known.nodes.keys().copied().filter(is_gone).collect();
        for id in gone {
            self.drop_interest(subscriber, id);
        }
        self.subscribers.get(&subscriber).is_some_and(fits)
    }

    /// Notes the interest; false if it is there already.
    fn note(&mut self, subscriber: SubscriberId, id: NodeId, tree: bool) -> bool {
        let Some(known) = self.subscribers.get_mut(&subscriber) else { return false };
        known.take_on(id, self.tree.up(id).count());
        let node = &mut self.tree[id];
        node.young_until = Some(self.now + limits::WATCH_YOUNG);
        let interests = if tree { &mut node.trees } else { &mut node.watchers };
        let is_new = !interests.iter().any(|interest| interest.subscriber == subscriber);
        if is_new {
            interests.push(Interest { subscriber, since: Some(self.count) });
        }
        if !self.unwatched.is_empty() && !self.unwatched_because.is_empty() {
            known.notice(&self.unwatched_because);
        }
        is_new
    }

    /// What is there now is known to whoever subscribes now. What mattered before is left to those who know of it.
    fn take_as_known(&mut self, id: NodeId) {
        if self.tree[id].live.is_none() {
            return;
        }
        let Some(folder) = self.open(id) else { return };
        for name in self.names(id, &folder) {
            if self.is_hidden(id, &name) || self.tree.child(id, &name).is_some() {
                continue;
            }
            if let Some(entry) = folder.look(&name) {
                Arc::make_mut(&mut self.tree[id].listing).insert(name, Known { entry, told: 0 });
            }
        }
    }

    /// Whether the folder came after its subscriber had subscribed to its parent: then nobody could have listed it
    /// before without missing something.
    fn came_since(&self, subscriber: SubscriberId, id: NodeId) -> bool {
        let node = &self.tree[id];
        let Some(parent) = node.parent else { return false };
        let interests = self.tree[parent].watchers.iter();
        let mut own = interests.filter(|one| one.subscriber == subscriber);
        let told = self.tree[parent].listing.get(&node.name).map_or(0, |known| known.told);
        own.any(|one| one.since.is_none_or(|since| told > since))
    }

    /// Watches every folder beneath, as long as the subscriber is there.
    fn add_beneath(&mut self, subscriber: SubscriberId, top: NodeId) {
        // With each, whether a tree above it is watched by others already.
        let mut folders = vec![(top, false)];
        while let Some((id, was_in_tree)) = folders.pop() {
            let has_left = self.subscribers.get(&subscriber).is_none_or(|one| one.mailbox.is_closed());
            if has_left || self.is_stopping() {
                return self.drop_interest(subscriber, top);
            }
            let inner =
                |(name, known): (&Name, &Known)| (known.entry.kind == Kind::Folder).then(|| name.clone());
            let names: Vec<Name> = self.tree[id].listing.iter().filter_map(inner).collect();
            for name in names {
                let is_new = self.tree.child(id, &name).is_none();
                let child = self.tree.child_or_new(id, &name);
                if is_new {
                    self.begin(child, None);
                } else {
                    self.arrive(child, None);
                }
                self.tree[child].young_until = Some(self.now + limits::WATCH_YOUNG);
                let was_in_tree = was_in_tree || !self.tree[child].trees.is_empty();
                if !was_in_tree && self.tree[child].watchers.is_empty() {
                    self.take_as_known(child);
                }
                folders.push((child, was_in_tree));
            }
        }
    }

    pub(super) fn unsubscribe(&mut self, subscriber: SubscriberId) {
        let Some(known) = self.subscribers.get(&subscriber) else { return };
        for id in known.nodes.keys().copied().collect::<Vec<_>>() {
            self.drop_interest(subscriber, id);
        }
        self.subscribers.remove(&subscriber);
        if self.subscribers.is_empty() {
            self.forget(Tree::ROOT);
        }
    }

    fn drop_interest(&mut self, subscriber: SubscriberId, id: NodeId) {
        if let Some(known) = self.subscribers.get_mut(&subscriber) {
            known.let_go(id);
        }
        let node = &mut self.tree[id];
        let had_tree = node.trees.iter().any(|one| one.subscriber == subscriber);
        node.watchers.retain(|one| one.subscriber != subscriber);
        node.trees.retain(|one| one.subscriber != subscriber);
        let touched = if had_tree { self.tree.below(id) } else { vec![id] };
        for id in touched.into_iter().rev() {
            if !self.tree.contains(id) {
                continue;
            }
            if !self.tree.wants_all(id) {
                self.keep_only_children(id);
            }
            self.prune(id);
        }
    }
}

/// The names on the way from the root.
fn names(path: &Path) -> Result<Vec<&OsStr>> {
    let mut names = Vec::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => names.push(name),
            Component::CurDir => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => {
                let path = printable(&path.to_string_lossy());
                return Err(Error::new(format!("cannot watch {path}: it leads out of the workspace")));
            }
        }
    }
    Ok(names)
}
