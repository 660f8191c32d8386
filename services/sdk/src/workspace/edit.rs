//! Changing a file by what it holds: read, edited, and written if it is still what was read.

use std::io::Write;
use std::path::Path;

use super::error::{Cause, FileError};
use super::{Result, Workspace};
use crate::limits;

impl Workspace {
    /// Replaces what a file holds, `None` if it is not there, by what `edit` makes of it. If somebody else writes it
    /// meanwhile, what he wrote is edited then.
    ///
    /// # Errors
    /// What `edit` says; if the file has more than `limit_bytes`, cannot be read or written, or is written again and again.
    pub fn edit<E: From<FileError>>(
        &self,
        path: &Path,
        limit_bytes: usize,
        mut edit: impl FnMut(Option<&[u8]>) -> Result<Vec<u8>, E>,
    ) -> Result<(), E> {
        for _ in 0..limits::EDIT_ROUNDS {
            let (old, was) = match self.open_file(path) {
                Ok((file, metadata)) => {
                    (Some(self.read_opened(path, &file, &metadata, limit_bytes)?), Some(metadata))
                }
                Err(error) if error.is_not_found() => (None, None),
                Err(error) => return Err(error.into()),
            };
            let new = edit(old.as_deref())?;
            if old.as_ref() == Some(&new) {
                return Ok(());
            }
            let mut draft = self.create(path)?;
            draft.write_all(&new).map_err(|error| FileError::new("write", path, error))?;
            let same = draft.commit_if(|now| {
                (now.copied() == was).then_some(()).ok_or_else(|| "somebody else is writing it".to_owned())
            });
            match same {
                Err(FileError { cause: Cause::Refused(_), .. }) => {}
                done => return Ok(done.map(drop)?),
            }
        }
        let busy = "somebody else is writing it: try again".to_owned();
        Err(FileError::new("write", path, Cause::Refused(busy)).into())
    }
}
