//! What the watcher knows of the children of one folder: the model that the disk is compared with.

use std::collections::BTreeMap;
use std::ffi::OsStr;

/// A name within a folder.
pub(super) type Name = Box<OsStr>;

/// What a client's file tree tells apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Whatever is no folder; a link is one of these, wherever it leads.
    File,
    /// A folder.
    Folder,
}

/// One look at one name. Two that are equal show nothing to tell a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) kind: Kind,
    pub(super) inode: u64,
    /// Of a file: size, time of the last change in nanoseconds, mode. Zero for a folder, whose own time changes with its
    /// children.
    pub(super) content: (u64, i64, u32),
}

/// What was last announced of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) entry: Entry,
    /// When a change of it was last announced, by the watcher's own count; 0 if it was there from the beginning. For a
    /// folder that is when it came: two folders with the same inode number are told apart by it.
    pub(super) told: u64,
}

/// The children of one folder, or those that somebody is interested in.
pub(super) type Listing = BTreeMap<Name, Known>;

/// What the kernel said happened to a name since it was last looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Marks {
    /// Something of this name was removed or moved away.
    pub(super) gone: bool,
    /// Something was moved away from this name.
    pub(super) from: bool,
    /// Something was moved to this name.
    pub(super) to: bool,
    /// Its content was written.
    pub(super) written: bool,
    /// It came and went, and somebody may have seen it.
    pub(super) brief: bool,
}

impl Marks {
    pub(super) fn add(&mut self, more: Marks) {
        self.gone |= more.gone;
        self.from |= more.from;
        self.to |= more.to;
        self.written |= more.written;
    }
}
