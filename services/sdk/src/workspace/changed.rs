//! What has changed since a moment, by the time that the kernel keeps of each file's last change and nobody can set.

use std::path::{Path, PathBuf};

use rustix::time::{ClockId, clock_gettime};

use super::error::{Cause, FileError};
use super::metadata::Kind;
use super::{Result, Workspace};

/// A moment, by the clock that files get their times from; comparable with nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(i64, u32);

impl Moment {
    /// This moment. The clock ticks every few milliseconds: what happens in the same tick counts as after it.
    pub fn now() -> Moment {
        let now = clock_gettime(ClockId::RealtimeCoarse);
        Moment(now.tv_sec, u32::try_from(now.tv_nsec).unwrap_or_default())
    }
}

impl Workspace {
    /// The files that were made, written, renamed or given other permissions since then, with what they hold. Of a folder
    /// that was moved, what is in it has not changed; what was removed is not there to be found.
    ///
    /// Walks the whole workspace, but through no link. What cannot be read, or goes away meanwhile, is left out.
    ///
    /// # Errors
    /// If there are more than `limit_files`, or they hold more than `limit_bytes`.
    pub fn changed_since(
        &self,
        since: Moment,
        limit_files: usize,
        limit_bytes: usize,
    ) -> Result<Vec<(PathBuf, Vec<u8>)>> {
        let too_much = |what: String, limit: usize| {
            FileError::new("check", Path::new("."), Cause::TooMuch { what, limit: limit.to_string() })
        };
        let mut found = Vec::new();
        let mut size_bytes = 0_u64;
        let mut folders = vec![PathBuf::new()];
        while let Some(folder) = folders.pop() {
            // The root is there; another that is not is nobody's loss.
            let Ok(mut entries) = self.list(&folder) else { continue };
            while let Some(entry) = entries.next() {
                let Ok(entry) = entry else { break };
                let path = folder.join(&entry.name);
                match entry.kind {
                    Kind::Folder => folders.push(path),
                    Kind::File => {
                        let metadata = entries.stat(&entry);
                        let Some(file) =
                            metadata.filter(|file| Moment(file.changed.0, file.changed.1) >= since)
                        else {
                            continue;
                        };
                        size_bytes += file.size_bytes;
                        found.push(path);
                        if found.len() > limit_files {
                            return Err(too_much(
                                format!("more than {limit_files} files have changed"),
                                limit_files,
                            ));
                        }
                        if size_bytes > limit_bytes as u64 {
                            let what =
                                format!("the files that have changed hold {size_bytes} bytes and more");
                            return Err(too_much(what, limit_bytes));
                        }
                    }
                    Kind::Link | Kind::Special => {}
                }
            }
        }
        found.sort_unstable();
        let mut room = limit_bytes;
        let read = |path: PathBuf| {
            let content = self.read(&path, room).ok()?;
            room -= content.len();
            Some((path, content))
        };
        Ok(found.into_iter().filter_map(read).collect())
    }
}
