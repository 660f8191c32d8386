//! A client as simple as one can be: it has a tree, applies what it is told, and subscribes to folders that come.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::super::{Change, Changes, Kind, News, Watch, Watcher, What};

pub(super) const DEADLINE: Duration = Duration::from_secs(20);

pub(super) type Tree = BTreeMap<PathBuf, Kind>;

/// What is on the disk; `within` limits it to folders that are open.
pub(super) fn disk(root: &Path, within: impl Fn(&Path) -> bool) -> Tree {
    let (mut tree, mut folders) = (Tree::new(), vec![PathBuf::new()]);
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(root.join(&folder)) else { continue };
        for entry in entries.flatten() {
            let path = folder.join(entry.file_name());
            let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            if is_folder && within(&path) {
                folders.push(path.clone());
            }
            tree.insert(path, if is_folder { Kind::Folder } else { Kind::File });
        }
    }
    tree
}

pub(super) struct Client {
    pub(super) root: PathBuf,
    pub(super) watch: Watch,
    pub(super) changes: Changes,
    pub(super) tree: Tree,
    /// Everything it was told, since this was last looked at.
    pub(super) log: Vec<Change>,
    /// Subscribes to each folder; otherwise a subscription to the whole tree does.
    pub(super) opens: bool,
    /// Knows only these paths and their children; everything if there are none.
    pub(super) points: Vec<PathBuf>,
}

pub(super) fn workspace() -> (TempDir, Watcher) {
    let root = tempfile::tempdir().unwrap();
    let watcher = Watcher::new(root.path(), None);
    (root, watcher)
}

impl Client {
    /// Knows everything, folder by folder.
    pub(super) async fn open(watcher: &Watcher, root: &Path) -> Client {
        let mut client = Client::new(watcher, root, true);
        let mut folders = vec![PathBuf::new()];
        while let Some(folder) = folders.pop() {
            client.watch.add(vec![folder.clone()]).await.unwrap();
            for (path, kind) in disk(&root.join(&folder), |_| false) {
                let path = folder.join(path);
                folders.extend((kind == Kind::Folder).then(|| path.clone()));
                client.tree.insert(path, kind);
            }
        }
        client
    }

    /// Knows everything by one subscription.
    pub(super) async fn whole(watcher: &Watcher, root: &Path) -> Client {
        let mut client = Client::new(watcher, root, false);
        client.watch.add_tree(PathBuf::new()).await.unwrap();
        client.tree = disk(root, |_| true);
        client
    }

    /// Knows some paths and their children, of which nothing is there yet.
    pub(super) async fn of_points(watcher: &Watcher, root: &Path, points: &[&str]) -> Client {
        let mut client = Client::new(watcher, root, false);
        client.points = points.iter().map(PathBuf::from).collect();
        client.watch.add(client.points.clone()).await.unwrap();
        client
    }

    /// What is on the disk, and what it knows, as far as it should.
    fn views(&self) -> (Tree, Tree) {
        let points = &self.points;
        let matters = |path: &Path| {
            points.is_empty() || points.iter().any(|point| path == point || path.parent() == Some(point))
        };
        let cut = |tree: &Tree| {
            tree.iter().filter(|(path, _)| matters(path)).map(|(path, kind)| (path.clone(), *kind)).collect()
        };
        (cut(&disk(&self.root, |_| true)), cut(&self.tree))
    }

    pub(super) fn new(watcher: &Watcher, root: &Path, opens: bool) -> Client {
        let (watch, changes) = watcher.subscribe().unwrap();
        let (tree, log, points) = Default::default();
        Client { root: root.to_owned(), watch, changes, tree, log, opens, points }
    }

    pub(super) async fn take(&mut self, within: Duration) -> bool {
        match tokio::time::timeout(within, self.changes.next()).await {
            Ok(Some(News::Changes(changes))) => {
                for change in changes {
                    self.apply(&change).await;
                }
                true
            }
            Ok(Some(News::Notice(text))) => panic!("{text}"),
            Ok(None) => panic!("the watcher has ended"),
            Err(_elapsed) => false,
        }
    }

    async fn apply(&mut self, change: &Change) {
        self.log.push(change.clone());
        let path = &change.path;
        match &change.what {
            What::Create => {
                self.tree.insert(path.clone(), change.kind);
                if change.kind == Kind::Folder && self.opens {
                    self.watch.add(vec![path.clone()]).await.unwrap();
                }
            }
            What::Remove => self.tree.retain(|known, _| !known.starts_with(path)),
            What::Modify => {}
            What::Move(to) => {
                let moved: Vec<_> = self.tree.extract_if(.., |known, _| known.starts_with(path)).collect();
                for (known, kind) in moved {
                    let rest = known.strip_prefix(path).unwrap();
                    let known = if rest.as_os_str().is_empty() { to.clone() } else { to.join(rest) };
                    self.tree.insert(known, kind);
                }
            }
        }
    }

    /// Waits until it knows what is on the disk.
    pub(super) async fn agree(&mut self) {
        let begin = Instant::now();
        loop {
            let (disk, known) = self.views();
            if disk == known {
                return;
            }
            if !self.take(Duration::from_millis(200)).await && begin.elapsed() > DEADLINE {
                let only = |one: &Tree, other: &Tree| -> Vec<_> {
                    one.iter()
                        .filter(|(path, kind)| other.get(*path) != Some(kind))
                        .map(|(path, _)| path.clone())
                        .collect()
                };
                panic!(
                    "only the client has {:?}; only the disk has {:?}; the last it was told: {:#?}",
                    only(&known, &disk),
                    only(&disk, &known),
                    &self.log[self.log.len().saturating_sub(40)..]
                );
            }
        }
    }

    /// Waits for a change that `wanted` is true for; what it was told until then.
    pub(super) async fn until(&mut self, wanted: impl Fn(&Change) -> bool) -> Vec<Change> {
        let begin = Instant::now();
        while !self.log.iter().any(&wanted) {
            assert!(begin.elapsed() < DEADLINE, "it did not come, but {:#?}", self.log);
            self.take(Duration::from_millis(200)).await;
        }
        std::mem::take(&mut self.log)
    }

    /// What it is told until a file that is made now is told of.
    pub(super) async fn until_fence(&mut self, name: &str) -> Vec<Change> {
        let fence = Path::new(name);
        fs::write(self.root.join(fence), "").unwrap();
        let mut told = self.until(|change| change.path == fence).await;
        told.retain(|change| change.path != fence);
        told
    }
}

pub(super) fn create(path: &str, kind: Kind) -> Change {
    Change { path: path.into(), kind, what: What::Create }
}

pub(super) fn remove(path: &str, kind: Kind) -> Change {
    Change { path: path.into(), kind, what: What::Remove }
}

pub(super) fn modify(path: &str) -> Change {
    Change { path: path.into(), kind: Kind::File, what: What::Modify }
}

pub(super) fn moved(path: &str, to: &str, kind: Kind) -> Change {
    Change { path: path.into(), kind, what: What::Move(to.into()) }
}
