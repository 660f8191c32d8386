//! Writing a file so that nobody ever sees a part of it.
//!
//! The content is gathered in a file without a name in the target's folder; nothing is left of it if the agent dies.
//! When all is there it gets the target's permissions and owner, and takes its place in one step. Where the file system
//! knows no files without names it has one that [`is_temporary`](super::is_temporary) knows.
//!
//! What cannot be replaced (a bind mount; a file in a folder that may not be written, while the file may) is rewritten in
//! place, and so is a file whose owner the agent cannot keep. That is not one step, but room for the content is made
//! before the first byte is changed.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Seek, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use cap_std::fs::Dir;
use nix::errno::Errno;
use rustix::fs::{Access, AtFlags, FallocateFlags, Gid, Mode, OFlags, Stat, Uid};

use super::change::{make_folders, sync_folder};
use super::error::{Cause, FileError};
use super::metadata::{Kind, Metadata, identity};
use super::place::{Place, look};
use super::read::reopen;
use super::{Result, Workspace};

/// How often somebody else may make a file just where a new one is to be put, before that is an error.
const RACES: usize = 16;

/// A file that is being written. Dropped, nothing has happened.
#[derive(Debug)]
pub struct Draft {
    workspace: Workspace,
    path: PathBuf,
    content: File,
    /// The last folder there was on the way, the names of those missing after it, and the target's own.
    dir: Dir,
    missing: Vec<OsString>,
    name: OsString,
    /// The name of the content in `dir`, as long as it has one.
    temporary: Option<String>,
    /// The content is not beside its target.
    elsewhere: bool,
    /// What was there when it was begun.
    old: Option<Metadata>,
}

impl Workspace {
    /// Begins to write a file: a new one, or new content for one. If `path` is a link, for what it leads to.
    ///
    /// # Errors
    /// If something other than a file is there, or it may not be written.
    pub fn create(&self, path: &Path) -> Result<Draft> {
        self.begin(path).map_err(|cause| FileError::new("open", path, cause))
    }

    /// Writes a whole file, and makes the folders above it.
    ///
    /// # Errors
    /// If it cannot be written. Then what was there still is.
    pub fn write(&self, path: &Path, content: &[u8]) -> Result<Metadata> {
        let mut draft = self.create(path)?;
        draft.write_all(content).map_err(|error| FileError::new("write", path, error))?;
        draft.commit()
    }

    fn begin(&self, path: &Path) -> Result<Draft, Cause> {
        let (mut place, missing) = self.place_with_parents(path)?;
        if place.kind() == Some(Kind::Link) {
            place = self.target(path)?;
        }
        let Place { dir, name, stat } = place;
        may_be_written(&dir, &name, stat.as_ref())?;
        let old = stat.as_ref().map(Metadata::of);
        let mode = stat.map_or(0o666, |stat| stat.st_mode & 0o777);
        let (content, temporary, elsewhere) = match self.beside(&dir, mode) {
            Ok((content, temporary)) => (content, temporary, false),
            Err(Errno::EACCES | Errno::EPERM | Errno::EROFS) if stat.is_some() => {
                (crate::process::nameless_file(self.scratch())?, None, true)
            }
            Err(error) => return Err(error.into()),
        };
        let (workspace, path) = (self.clone(), path.to_owned());
        Ok(Draft { workspace, path, content, dir, missing, name, temporary, elsewhere, old })
    }

    /// A new file in `dir`, if possible without a name.
    fn beside(&self, dir: &Dir, mode: u32) -> Result<(File, Option<String>), Errno> {
        let mode = Mode::from_raw_mode(mode);
        let flags = OFlags::RDWR | OFlags::CLOEXEC;
        match rustix::fs::openat(dir, ".", flags | OFlags::TMPFILE, mode) {
            Ok(file) => return Ok((file.into(), None)),
            // What file systems say that have no such files.
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::ISDIR | rustix::io::Errno::INVAL) => {}
            Err(error) => return Err(Errno::from_raw(error.raw_os_error())),
        }
        let name = self.next_temporary();
        let made = rustix::fs::openat(dir, &name, flags | OFlags::CREATE | OFlags::EXCL, mode);
        made.map(|file| (file.into(), Some(name))).map_err(|error| Errno::from_raw(error.raw_os_error()))
    }
}

impl Write for Draft {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.content.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Draft {
    /// What was there when it was begun.
    pub fn replaces(&self) -> Option<&Metadata> {
        self.old.as_ref()
    }

    /// Puts the content in its place.
    ///
    /// # Errors
    /// If that is not possible. Then what was there still is.
    pub fn commit(self) -> Result<Metadata> {
        self.commit_if(|_| Ok(()))
    }

    /// As [`commit`](Draft::commit) if `check`, which is shown what is there at that moment, has nothing against it.
    /// Between the two nobody else writes that file through the agent; if a program makes one there, it is asked again.
    ///
    /// # Errors
    /// What `check` says; and as [`commit`](Draft::commit).
    pub fn commit_if(
        mut self,
        check: impl FnMut(Option<&Metadata>) -> std::result::Result<(), String>,
    ) -> Result<Metadata> {
        self.settle(check).map_err(|cause| FileError::new("write", &self.path, cause))
    }

    fn settle(
        &mut self,
        mut check: impl FnMut(Option<&Metadata>) -> std::result::Result<(), String>,
    ) -> Result<Metadata, Cause> {
        let fsync = self.workspace.fsync();
        let folder = if self.missing.is_empty() {
            self.dir.try_clone()?
        } else {
            make_folders(&self.dir, &self.missing, fsync)?
        };
        // Before its turn, because it may take long; what its new place adds comes afterwards.
        if fsync && !self.elsewhere {
            self.content.sync_all()?;
        }
        let workspace = self.workspace.clone();
        let turn = workspace.commit_turn(&folder, &self.name)?;
        let mut attempts = (0..RACES).map(|_| self.put(&folder, &mut check));
        let put = attempts.find(|put| !matches!(put, Err(Cause::System(Errno::EEXIST))));
        let (rewritten, metadata) = put.unwrap_or(Err(Errno::EEXIST.into()))?;
        // In its turn: whoever puts back what a change has broken looks in his.
        workspace.note_written(&metadata);
        drop(turn);
        if fsync {
            rewritten.as_ref().unwrap_or(&self.content).sync_all()?;
            sync_folder(&folder)?;
        }
        Ok(metadata)
    }

    /// One attempt: what there is then, and the file itself if it was rewritten. It fails with EEXIST if there was nothing
    /// and then something.
    fn put(
        &mut self,
        folder: &Dir,
        check: &mut impl FnMut(Option<&Metadata>) -> std::result::Result<(), String>,
    ) -> Result<(Option<File>, Metadata), Cause> {
        let old = look(folder, &self.name)?;
        check(old.as_ref().map(Metadata::of).as_ref()).map_err(Cause::Refused)?;
        may_be_written(folder, &self.name, old.as_ref())?;
        let in_place = self.elsewhere || !self.keep_attributes(old.as_ref())?;
        if in_place {
            let old = old.ok_or(Errno::EACCES)?;
            return rewrite(&mut self.content, folder, &self.name, &old);
        }
        match replace(
            &self.workspace,
            &self.content,
            &self.dir,
            &mut self.temporary,
            folder,
            &self.name,
            old.is_some(),
        ) {
            Ok(()) => {}
            Err(error @ (Errno::EBUSY | Errno::EPERM | Errno::EACCES | Errno::EXDEV)) => {
                let Some(old) = old else { return Err(error.into()) };
                return rewrite(&mut self.content, folder, &self.name, &old);
            }
            Err(error) => return Err(error.into()),
        }
        Ok((None, Metadata::of(&rustix::fs::fstat(&self.content)?)))
    }

    /// Gives the content the owner and permissions of what it replaces. False if it may not.
    fn keep_attributes(&self, old: Option<&Stat>) -> Result<bool, Cause> {
        let Some(old) = old else { return Ok(true) };
        let new = rustix::fs::fstat(&self.content)?;
        if (old.st_uid, old.st_gid) != (new.st_uid, new.st_gid) {
            let (owner, group) = (Uid::from_raw(old.st_uid), Gid::from_raw(old.st_gid));
            match rustix::fs::fchown(&self.content, Some(owner), Some(group)) {
                Ok(()) => {}
                Err(rustix::io::Errno::PERM) => return Ok(false),
                Err(error) => return Err(error.into()),
            }
        }
        // Afterwards, because a new owner takes special permissions away.
        if old.st_mode & 0o7777 != new.st_mode & 0o7777 {
            rustix::fs::fchmod(&self.content, Mode::from_raw_mode(old.st_mode & 0o7777))?;
        }
        Ok(true)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if let Some(name) = self.temporary.take() {
            let _ = rustix::fs::unlinkat(&self.dir, name, AtFlags::empty());
        }
    }
}

/// Whether a file may be written over what is there.
fn may_be_written(dir: &Dir, name: &OsStr, stat: Option<&Stat>) -> Result<(), Cause> {
    let Some(stat) = stat else { return Ok(()) };
    match Kind::of(stat) {
        Kind::Folder => Err(Errno::EISDIR.into()),
        Kind::Special => Err(Cause::Special),
        Kind::Link => Err(Errno::ELOOP.into()),
        // The folder's permission alone would do to replace it. But who took the right to write away meant it.
        Kind::File => Ok(rustix::fs::accessat(dir, name, Access::WRITE_OK, AtFlags::EACCESS)?),
    }
}

/// Puts `content` where `name` is, in one step; where nothing is, it fails if something is there by then, as far as the
/// file system can do that. `temporary` is its name in `dir`, if it has one.
fn replace(
    workspace: &Workspace,
    content: &File,
    dir: &Dir,
    temporary: &mut Option<String>,
    folder: &Dir,
    name: &OsStr,
    occupied: bool,
) -> Result<(), Errno> {
    let from_raw = |error: rustix::io::Errno| Errno::from_raw(error.raw_os_error());
    let named = match temporary {
        Some(named) => named.clone(),
        None => {
            let nameless = format!("/proc/self/fd/{}", content.as_raw_fd());
            let link = |dir: &Dir, name: &OsStr| {
                rustix::fs::linkat(rustix::fs::CWD, &nameless, dir, name, AtFlags::SYMLINK_FOLLOW)
            };
            if !occupied {
                return link(folder, name).map_err(from_raw);
            }
            let named = workspace.next_temporary();
            link(dir, OsStr::new(&named)).map_err(from_raw)?;
            temporary.insert(named).clone()
        }
    };
    rustix::fs::renameat(dir, named, folder, name).map_err(from_raw)?;
    *temporary = None;
    Ok(())
}

/// Writes `content` over what a file holds, after making sure of the room for it.
pub(super) fn rewrite(
    content: &mut File,
    folder: &Dir,
    name: &OsStr,
    old: &Stat,
) -> Result<(Option<File>, Metadata), Cause> {
    let found =
        rustix::fs::openat(folder, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    if identity(&rustix::fs::fstat(&found)?) != identity(old) {
        return Err(Errno::EBUSY.into());
    }
    let mut file = File::from(reopen(&found, OFlags::WRONLY)?);
    let size_bytes = content.metadata()?.len();
    if size_bytes > 0 {
        match rustix::fs::fallocate(&file, FallocateFlags::KEEP_SIZE, 0, size_bytes) {
            // Where room cannot be made beforehand it is found on the way.
            Ok(()) | Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {}
            Err(error) => return Err(error.into()),
        }
    }
    content.rewind()?;
    io::copy(content, &mut file)?;
    file.set_len(size_bytes)?;
    let metadata = Metadata::of(&rustix::fs::fstat(&file)?);
    Ok((Some(file), metadata))
}
