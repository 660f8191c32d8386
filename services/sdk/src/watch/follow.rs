//! A watched folder has moved: its watches go with it, and so do the subscriptions of whoever saw it move.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::sync::Arc;

use super::listing::{Kind, Name};
use super::tree::{NodeId, SubscriberId};
use super::worker::Worker;
use super::{Change, What};

impl Worker {
    /// `seen` were told that it moved; to all others it has come. False if it was not watched: then what is at the new
    /// place is as new as anything that comes.
    pub(super) fn follow(
        &mut self,
        from: (NodeId, &Name),
        to: (NodeId, &Name),
        seen: &BTreeSet<SubscriberId>,
    ) -> bool {
        let Some(old) = self.tree.child(from.0, from.1) else { return false };
        let was_known = self.tree.child(to.0, to.1).is_some();
        if let Some(overwritten) = self.tree.child(to.0, to.1) {
            self.forget(overwritten);
        }
        let new = self.tree.child_or_new(to.0, to.1);
        // If not, it moved before anybody could watch it: then it is begun at the new place, for those who asked for it.
        let is_live = self.tree[old].live.is_some();
        self.tell_gone(old);
        let mut greetings = Vec::new();
        let mut pairs = vec![(old, new)];
        let mut at = 0;
        while let Some(&(old, new)) = pairs.get(at) {
            at += 1;
            let (before, had_all) = (self.tree.whole_audience(old), self.tree.wants_all(old));
            self.copy_interests(old, new, seen);
            if is_live {
                self.hand_over(old, new);
            }
            for (name, child) in self.tree[old].children.clone() {
                pairs.push((child, self.tree.child_or_new(new, &name)));
            }
            let wants_all = self.tree.wants_all(new);
            if !wants_all {
                self.keep_only_children(new);
            }
            if self.tree[new].live.is_some() && (was_known || wants_all && !had_all) {
                self.tree[new].relist = true;
                self.schedule(new);
            }
            for to in self.tree.whole_audience(new).into_iter().filter(|_| is_live) {
                if !(seen.contains(&to) && before.contains(&to)) {
                    greetings.push((new, to));
                }
            }
        }
        for (id, to) in greetings {
            self.greet(id, to);
        }
        for (old, new) in pairs.into_iter().rev() {
            self.prune(new);
            self.prune(old);
        }
        is_live
    }

    fn copy_interests(&mut self, old: NodeId, new: NodeId, who: &BTreeSet<SubscriberId>) {
        let (watchers, trees) = (self.tree[old].watchers.clone(), self.tree[old].trees.clone());
        let names = self.tree.up(new).count();
        let node = &mut self.tree[new];
        for (from, into) in [(watchers, &mut node.watchers), (trees, &mut node.trees)] {
            for interest in from.into_iter().filter(|interest| who.contains(&interest.subscriber)) {
                if !into.iter().any(|there| there.subscriber == interest.subscriber) {
                    into.push(interest);
                    if let Some(subscriber) = self.subscribers.get_mut(&interest.subscriber) {
                        subscriber.take_on(new, names);
                    }
                }
            }
        }
    }

    /// The watch is on the folder, not on its path: it goes on without a gap.
    fn hand_over(&mut self, old: NodeId, new: NodeId) {
        self.unschedule(old);
        let node = &mut self.tree[old];
        let (live, listing) = (node.live.take(), std::mem::take(&mut node.listing));
        let (dirty, relist) = (std::mem::take(&mut node.dirty), std::mem::take(&mut node.relist));
        if self.unwatched.remove(&old) {
            self.unwatched.insert(new);
        }
        let nodes = live.and_then(|live| self.by_watch.get_mut(&live.watch?));
        for node in nodes.into_iter().flatten().filter(|node| **node == old) {
            *node = new;
        }
        let is_dirty = relist || !dirty.is_empty();
        let node = &mut self.tree[new];
        (node.live, node.listing, node.dirty, node.relist) = (live, listing, dirty, relist);
        if is_dirty {
            self.schedule(new);
        }
    }

    /// Nobody watches all of it any more.
    pub(super) fn keep_only_children(&mut self, id: NodeId) {
        let node = &mut self.tree[id];
        let children = &node.children;
        Arc::make_mut(&mut node.listing).retain(|name, _| children.contains_key(name));
    }

    /// Tells one subscriber of everything in a folder that has just come, as far as it knows.
    pub(super) fn greet(&mut self, id: NodeId, to: SubscriberId) {
        let path = self.tree.path(id);
        let create =
            |name: &OsStr, kind: Kind| Arc::new(Change { path: path.join(name), kind, what: What::Create });
        let told_of = |name: &&Name| self.tree.is_told(to, id, name);
        let listing = &self.tree[id].listing;
        let changes: Vec<_> =
            listing.keys().filter(told_of).map(|name| create(name, listing[name].entry.kind)).collect();
        for interest in self.tree[id].watchers.iter_mut().filter(|interest| interest.subscriber == to) {
            interest.since = None;
        }
        let Some(subscriber) = self.subscribers.get_mut(&to) else { return };
        if !subscriber.behind.is_empty() || !subscriber.mailbox.offer(&changes) {
            subscriber.behind.entry(path).or_default();
        }
    }
}
