//! The unlinked file behind a replay log: a ring, written at offset modulo capacity.
//!
//! The file has no name, so nothing is left behind however the agent ends. What it deliberately does not do: decide when
//! to spill; the log does. Every call here may block on the disk and runs on the blocking pool.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use rustix::fs::{Mode, OFlags};

/// A file in `folder` that nobody else can find, and that is gone with its last descriptor.
pub(crate) fn nameless_file(folder: &Path) -> io::Result<File> {
    let mode = Mode::RUSR | Mode::WUSR;
    match rustix::fs::open(folder, OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC, mode) {
        Ok(fd) => Ok(File::from(fd)),
        // Not every file system can make nameless files; make one with a name and take the name away.
        Err(_) => {
            let name = format!(".output-{}-{:?}", std::process::id(), std::thread::current().id());
            let path = folder.join(name);
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC;
            let fd = rustix::fs::open(&path, flags, mode)?;
            std::fs::remove_file(&path)?;
            Ok(File::from(fd))
        }
    }
}

/// Where a stream's older bytes are: `start..end` of it, each at its offset modulo `capacity`.
#[derive(Clone)]
pub(super) struct Ring {
    file: Arc<File>,
    pub(super) capacity: u64,
    pub(super) start: u64,
    pub(super) end: u64,
}

/// What became of a write.
pub(super) enum Written {
    /// All is in the file.
    Done,
    /// The disk is full at this length of the file, which from now on is its capacity.
    Full(u64),
    /// The file is of no more use.
    Failed(io::Error),
}

impl Ring {
    /// A nameless file in `folder` for at most `capacity` bytes; the first byte written is byte 0 of the stream.
    pub(super) fn create(folder: &Path, capacity: u64) -> io::Result<Self> {
        let file = nameless_file(folder)?;
        Ok(Self { file: Arc::new(file), capacity, start: 0, end: 0 })
    }

    /// Writes `blocks` as the bytes from `offset` on. The caller has given up what they overwrite.
    pub(super) fn write(&self, offset: u64, blocks: &[Bytes]) -> Written {
        let mut at = offset;
        for block in blocks {
            let mut rest: &[u8] = block;
            while !rest.is_empty() {
                let position = at % self.capacity;
                let room = usize::try_from(self.capacity - position).unwrap_or(usize::MAX);
                match self.file.write_at(&rest[..rest.len().min(room)], position) {
                    Ok(0) => return Written::Failed(io::ErrorKind::WriteZero.into()),
                    Ok(count) => {
                        at += count as u64;
                        rest = &rest[count..];
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    // Before the first turn of the ring the file ends at `at`, and a smaller capacity changes no
                    // position of what is in it. Later there is nothing left to gain.
                    Err(error) if full(&error) && at < self.capacity => return Written::Full(at),
                    Err(error) => return Written::Failed(error),
                }
            }
        }
        Written::Done
    }

    /// Reads `length` bytes from `from` on, both within `start..end` when the caller looked.
    pub(super) fn read(&self, from: u64, length: usize) -> io::Result<Bytes> {
        let mut bytes = vec![0; length];
        let mut done = 0;
        while done < length {
            let position = (from + done as u64) % self.capacity;
            let room = usize::try_from(self.capacity - position).unwrap_or(usize::MAX);
            let to = length.min(done.saturating_add(room));
            self.file.read_exact_at(&mut bytes[done..to], position)?;
            done = to;
        }
        Ok(Bytes::from(bytes))
    }
}

#[cfg(test)]
impl Ring {
    /// From now on nothing can be written.
    pub(super) fn fail_writes(&mut self) {
        use std::os::fd::AsRawFd;
        let path = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        self.file = Arc::new(File::open(path).expect("our own file opens again"));
    }
}

fn full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}
