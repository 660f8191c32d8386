//! Which folder has which of the kernel's watches, what becomes of those for which there is none, and of all of them when
//! events are lost.

use rustix::io::Errno;

use super::disk::{Folder, is_passing, is_short};
use super::inotify::{Inotify, WatchId};
use super::tree::{Live, NodeId, Tree};
use super::worker::Worker;
use crate::limits;

impl Worker {
    pub(super) fn set_live(&mut self, id: NodeId, folder: &Folder, watch: Option<WatchId>) {
        match watch {
            Some(watch) => {
                self.unwatched.remove(&id);
                let nodes = self.by_watch.entry(watch).or_default();
                if !nodes.contains(&id) {
                    nodes.push(id);
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

    /// A watch for the folder, `None` if there is none to be had, of which people are then told.
    pub(super) fn watch(&mut self, folder: &Folder) -> Option<WatchId> {
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
        if self.tree[Tree::ROOT].live.is_none() && self.begin(Tree::ROOT, None).is_none() {
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
        if let Some(Live { watch: Some(watch), .. }) = self.tree[id].live.take()
            && let Some(nodes) = self.by_watch.get_mut(&watch)
        {
            nodes.retain(|node| *node != id);
            if nodes.is_empty() {
                self.by_watch.remove(&watch);
                if let Some(inotify) = &self.inotify {
                    inotify.unwatch(watch);
                }
            }
        }
    }
}
