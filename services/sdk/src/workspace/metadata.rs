//! What is known about one file.

use std::time::{Duration, SystemTime};

use rustix::fs::{FileType, Stat, Statx};

/// What a path names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A symbolic link.
    Link,
    /// A device, a pipe, a socket.
    Special,
}

impl Kind {
    pub(super) fn of(stat: &Stat) -> Kind {
        Kind::of_type(FileType::from_raw_mode(stat.st_mode))
    }

    pub(super) fn of_type(file_type: FileType) -> Kind {
        match file_type {
            FileType::RegularFile => Kind::File,
            FileType::Directory => Kind::Folder,
            FileType::Symlink => Kind::Link,
            _ => Kind::Special,
        }
    }
}

/// What is known about one file, folder or link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// What it is.
    pub kind: Kind,
    /// Its length.
    pub size_bytes: u64,
    /// Type and permissions, as the kernel has them.
    pub mode: u32,
    /// When its content was changed last: seconds since 1970, and nanoseconds of that second.
    pub modified: (i64, u32),
    /// When anything about it was changed last, which nobody can set back.
    pub changed: (i64, u32),
    /// The file system it is on.
    pub device: u64,
    /// Its number there.
    pub inode: u64,
}

impl Metadata {
    pub(super) fn of(stat: &Stat) -> Metadata {
        Metadata {
            kind: Kind::of(stat),
            size_bytes: u64::try_from(stat.st_size).unwrap_or(0),
            mode: stat.st_mode,
            modified: (stat.st_mtime, nanoseconds(stat.st_mtime_nsec)),
            changed: (stat.st_ctime, nanoseconds(stat.st_ctime_nsec)),
            device: stat.st_dev,
            inode: stat.st_ino,
        }
    }

    pub(super) fn of_statx(stat: &Statx) -> Metadata {
        Metadata {
            kind: Kind::of_type(FileType::from_raw_mode(stat.stx_mode.into())),
            size_bytes: stat.stx_size,
            mode: stat.stx_mode.into(),
            modified: (stat.stx_mtime.tv_sec, stat.stx_mtime.tv_nsec),
            changed: (stat.stx_ctime.tv_sec, stat.stx_ctime.tv_nsec),
            device: rustix::fs::makedev(stat.stx_dev_major, stat.stx_dev_minor),
            inode: stat.stx_ino,
        }
    }

    /// When its content was changed last.
    pub fn modified_time(&self) -> SystemTime {
        let (seconds, nanoseconds) = self.modified;
        let whole = Duration::from_secs(seconds.unsigned_abs());
        let second =
            if seconds < 0 { SystemTime::UNIX_EPOCH - whole } else { SystemTime::UNIX_EPOCH + whole };
        second + Duration::from_nanos(nanoseconds.into())
    }

    /// Type and permissions as text, `-rw-r--r--`: letters for the type and what is special about it, then nine for
    /// owner, group and others.
    pub fn mode_text(&self) -> String {
        let has = |bit: u32| self.mode & bit != 0;
        let mut text = String::with_capacity(12);
        match FileType::from_raw_mode(self.mode) {
            FileType::Directory => text.push('d'),
            FileType::Symlink => text.push('L'),
            FileType::Fifo => text.push('p'),
            FileType::Socket => text.push('S'),
            FileType::BlockDevice => text.push('D'),
            FileType::CharacterDevice => text.push_str("Dc"),
            _ => {}
        }
        for (bit, letter) in [(0o4000, 'u'), (0o2000, 'g'), (0o1000, 't')] {
            if has(bit) {
                text.push(letter);
            }
        }
        if text.is_empty() {
            text.push('-');
        }
        for (place, letter) in "rwxrwxrwx".chars().enumerate() {
            text.push(if has(0o400 >> place) { letter } else { '-' });
        }
        text
    }
}

/// What tells one file from every other.
pub(super) fn identity(stat: &Stat) -> (u64, u64) {
    (stat.st_dev, stat.st_ino)
}

fn nanoseconds(field: impl TryInto<u32>) -> u32 {
    field.try_into().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_written_as_the_protocol_has_them() {
        let text = |mode| {
            let of = Metadata {
                kind: Kind::File,
                size_bytes: 0,
                mode,
                modified: (-1, 500_000_000),
                changed: (0, 0),
                device: 0,
                inode: 0,
            };
            assert_eq!(SystemTime::UNIX_EPOCH - Duration::from_millis(500), of.modified_time());
            of.mode_text()
        };
        assert_eq!(text(0o100_644), "-rw-r--r--");
        assert_eq!(text(0o040_755), "drwxr-xr-x");
        assert_eq!(text(0o041_777), "dtrwxrwxrwx");
        assert_eq!(text(0o104_755), "urwxr-xr-x");
        assert_eq!(text(0o120_777), "Lrwxrwxrwx");
        assert_eq!(text(0o010_600), "prw-------");
        assert_eq!(text(0o020_600), "Dcrw-------");
    }
}
