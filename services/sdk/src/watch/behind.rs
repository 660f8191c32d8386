//! Subscribers that did not keep up: once they have taken what was queued they are sent the difference between what
//! they know and what is there, piece by piece. What is kept for them is bounded by what is in the folders, not by what
//! happened in them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use super::listing::{Kind, Known, Listing, Name};
use super::subscriber::Subscriber;
use super::tree::{SubscriberId, Tree};
use super::worker::Worker;
use super::{Change, What};

impl Worker {
    pub(super) fn catch_up(&mut self) {
        let behind =
            |(id, subscriber): (&SubscriberId, &Subscriber)| (!subscriber.behind.is_empty()).then_some(*id);
        let all: Vec<SubscriberId> = self.subscribers.iter().filter_map(behind).collect();
        for id in all {
            while let Some(subscriber) = self.subscribers.get_mut(&id)
                && !subscriber.behind.is_empty()
                // If it has none, this thread is woken when it has.
                && subscriber.mailbox.has_room()
            {
                // A name may take two: one goes, another comes.
                let most = (subscriber.mailbox.most / 2).max(1);
                let changes = difference(&self.tree, id, &mut subscriber.behind, most);
                subscriber.mailbox.offer(&changes);
            }
        }
    }
}

/// The next piece of the difference, about `most` names; `behind` is then what the subscriber will know. Folders come before what is in them.
fn difference(
    tree: &Tree,
    to: SubscriberId,
    behind: &mut BTreeMap<PathBuf, Arc<Listing>>,
    most: usize,
) -> Vec<Arc<Change>> {
    let mut changes = Vec::new();
    while changes.len() < most
        && let Some((path, mut told)) = behind.pop_first()
    {
        // Of what is not in the tree any more, something above it tells.
        let Some(id) = tree.find(&path) else { continue };
        let now = &tree[id].listing;
        let room = most - changes.len();
        let names = differing(&told, now, room);
        let is_all = names.len() < room;
        for name in names {
            let (old, new) = (told.get(&name).copied(), now.get(&name).copied());
            if tree.is_told(to, id, &name) {
                let mut tell = |known: Known, what| {
                    changes.push(Arc::new(Change { path: path.join(&*name), kind: known.entry.kind, what }));
                };
                match (old, new) {
                    (Some(old), Some(new))
                        if old.entry.kind == Kind::File && new.entry.kind == Kind::File =>
                    {
                        tell(new, What::Modify);
                    }
                    (old, new) => {
                        old.into_iter().for_each(|old| tell(old, What::Remove));
                        new.into_iter().for_each(|new| tell(new, What::Create));
                    }
                }
            }
            let told = Arc::make_mut(&mut told);
            match new {
                Some(new) => drop(told.insert(name, new)),
                None => drop(told.remove(&name)),
            }
        }
        if !is_all {
            behind.insert(path, told);
        }
    }
    changes
}

/// Names, at most so many, of which the one does not know what the other does.
fn differing(told: &Listing, now: &Listing, most: usize) -> Vec<Name> {
    let changed = told.iter().filter(|(name, known)| now.get(*name) != Some(known)).map(|(name, _)| name);
    let new = now.keys().filter(|name| !told.contains_key(*name));
    changed.chain(new).take(most).cloned().collect()
}
