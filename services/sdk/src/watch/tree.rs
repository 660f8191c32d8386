//! Who is interested in which path, and what is known of it: a tree of the paths that matter, whether they exist or not.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use super::disk::FolderId;
use super::inotify::WatchId;
use super::listing::{Listing, Marks, Name};

/// A subscriber.
pub(super) type SubscriberId = u64;

/// A path that matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct NodeId(u64);

#[derive(Debug, Default)]
pub(super) struct Node {
    pub(super) parent: Option<NodeId>,
    pub(super) name: Name,
    pub(super) children: BTreeMap<Name, NodeId>,
    /// Who watches this path and, if it is a folder, all its children.
    pub(super) watchers: Vec<Interest>,
    /// Who watches this path and everything beneath it.
    pub(super) trees: Vec<Interest>,
    /// Set while there is a folder here.
    pub(super) live: Option<Live>,
    /// What clients know of the folder's children; only those with a node if nobody watches all.
    pub(super) listing: Arc<Listing>,
    /// Names to look at.
    pub(super) dirty: BTreeMap<Name, Marks>,
    /// All names are to be looked at.
    pub(super) relist: bool,
    /// When to look, if there is something to look at.
    pub(super) due: Option<Instant>,
    /// Until then somebody who has just subscribed may be listing it.
    pub(super) young_until: Option<Instant>,
    /// Until then changes are gathered.
    pub(super) quiet_at: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Interest {
    pub(super) subscriber: SubscriberId,
    /// The watcher's count of what was told, when this began. `None` if the subscriber was told of all that was here:
    /// then everything in it has come since.
    pub(super) since: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Live {
    pub(super) id: FolderId,
    /// `None` if there is no watch to be had: the folder is listed again now and then.
    pub(super) watch: Option<WatchId>,
}

#[derive(Debug)]
pub(super) struct Tree {
    nodes: HashMap<NodeId, Node>,
    next: u64,
}

impl std::ops::Index<NodeId> for Tree {
    type Output = Node;

    fn index(&self, id: NodeId) -> &Node {
        &self.nodes[&id]
    }
}

impl std::ops::IndexMut<NodeId> for Tree {
    fn index_mut(&mut self, id: NodeId) -> &mut Node {
        self.nodes.get_mut(&id).expect("ids of removed nodes are not kept")
    }
}

impl Tree {
    /// The root of the workspace.
    pub(super) const ROOT: NodeId = NodeId(0);

    pub(super) fn new() -> Tree {
        Tree { nodes: HashMap::from([(Tree::ROOT, Node::default())]), next: 1 }
    }

    pub(super) fn contains(&self, id: NodeId) -> bool {
        self.nodes.contains_key(&id)
    }

    pub(super) fn child(&self, id: NodeId, name: &OsStr) -> Option<NodeId> {
        self[id].children.get(name).copied()
    }

    pub(super) fn find(&self, path: &Path) -> Option<NodeId> {
        path.iter().try_fold(Tree::ROOT, |id, name| self.child(id, name))
    }

    pub(super) fn child_or_new(&mut self, parent: NodeId, name: &OsStr) -> NodeId {
        if let Some(there) = self.child(parent, name) {
            return there;
        }
        let id = NodeId(self.next);
        self.next += 1;
        let node = Node { parent: Some(parent), name: name.into(), ..Node::default() };
        self.nodes.insert(id, node);
        self[parent].children.insert(name.into(), id);
        id
    }

    /// Takes out a node without children; gives its parent.
    pub(super) fn remove(&mut self, id: NodeId) -> Option<NodeId> {
        let node = self.nodes.remove(&id)?;
        let parent = node.parent?;
        self[parent].children.remove(&node.name);
        Some(parent)
    }

    /// Relative to the root.
    pub(super) fn path(&self, id: NodeId) -> PathBuf {
        let names: Vec<NodeId> = self.up(id).collect();
        names.iter().rev().map(|id| &*self[*id].name).filter(|name| !name.is_empty()).collect()
    }

    /// The node and all above it.
    pub(super) fn up(&self, id: NodeId) -> impl Iterator<Item = NodeId> {
        std::iter::successors(Some(id), |id| self[*id].parent)
    }

    /// The node and all beneath it, each before its children.
    pub(super) fn below(&self, id: NodeId) -> Vec<NodeId> {
        let mut all = vec![id];
        let mut at = 0;
        while let Some(next) = all.get(at) {
            all.extend(self[*next].children.values());
            at += 1;
        }
        all
    }

    /// Whether all that is in this folder matters to somebody.
    pub(super) fn wants_all(&self, id: NodeId) -> bool {
        !self[id].watchers.is_empty() || self.in_tree(id)
    }

    /// Whether everything beneath matters to somebody.
    pub(super) fn in_tree(&self, id: NodeId) -> bool {
        self.up(id).any(|id| !self[id].trees.is_empty())
    }

    /// Whether the node is there for a reason.
    pub(super) fn is_needed(&self, id: NodeId) -> bool {
        let node = &self[id];
        id == Tree::ROOT
            || !(node.watchers.is_empty() && node.trees.is_empty() && node.children.is_empty())
            || (node.live.is_some() && self.in_tree(id))
    }

    /// Who is told of all children of the node.
    pub(super) fn audience(&self, id: NodeId) -> BTreeSet<SubscriberId> {
        let trees = self.up(id).flat_map(|id| &self[id].trees);
        self[id].watchers.iter().chain(trees).map(|interest| interest.subscriber).collect()
    }

    /// Who is told of this child besides: those who watch its path itself.
    pub(super) fn own_audience(&self, id: NodeId, name: &OsStr) -> impl Iterator<Item = SubscriberId> {
        let child = self.child(id, name).map(|child| &self[child]);
        let interests = child.map_or((&[][..], &[][..]), |child| (&child.watchers[..], &child.trees[..]));
        interests.0.iter().chain(interests.1).map(|interest| interest.subscriber)
    }

    /// Who is told of any child of the node.
    pub(super) fn whole_audience(&self, id: NodeId) -> BTreeSet<SubscriberId> {
        let children = self[id].children.keys().flat_map(|name| self.own_audience(id, name));
        children.chain(self.audience(id)).collect()
    }

    /// Whether `subscriber` is told of this child.
    pub(super) fn is_told(&self, subscriber: SubscriberId, id: NodeId, name: &OsStr) -> bool {
        self.is_told_all(subscriber, id) || self.own_audience(id, name).any(|other| other == subscriber)
    }

    /// Whether `subscriber` is told of all children.
    pub(super) fn is_told_all(&self, subscriber: SubscriberId, id: NodeId) -> bool {
        let trees = self.up(id).flat_map(|id| &self[id].trees);
        self[id].watchers.iter().chain(trees).any(|interest| interest.subscriber == subscriber)
    }
}
