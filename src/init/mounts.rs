//! What a bare root filesystem lacks: /proc, devices, terminals, room for temporary files.
//!
//! Only as process 1, and only what is missing: nothing is ever mounted over a folder that holds something. What cannot
//! be had is a warning, because most of the agent works without it; without /proc nothing does. What this deliberately
//! does not do: sort out an operator's own mounts, or undo anything at the end, when the whole namespace goes.

use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::Path;

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use rustix::fs::StatVfsMountFlags;
use tracing::{info, warn};

/// A filesystem that programs take for granted.
struct Mount {
    path: &'static str,
    kind: &'static str,
    flags: MsFlags,
    options: &'static str,
    /// Of the folder, where that is missing too.
    mode: u32,
    /// What does not work without it.
    lack: &'static str,
}

const TMPFS: &str = "tmpfs";

/// Neither devices, nor programs, nor rights of their owners.
const INERT: MsFlags = MsFlags::MS_NOSUID.union(MsFlags::MS_NODEV).union(MsFlags::MS_NOEXEC);

const PROC: Mount = Mount {
    path: "/proc",
    kind: "proc",
    flags: INERT,
    options: "",
    mode: 0o555,
    lack: "nothing that runs can be found or ended",
};

/// Not without execution: some programs map /dev/zero so.
const DEV: Mount = Mount {
    path: "/dev",
    kind: TMPFS,
    flags: MsFlags::MS_NOSUID,
    options: "mode=755",
    mode: 0o755,
    lack: "programs that use devices, /dev/null to begin with, fail",
};

/// Group 5 is `tty` wherever it has a number; what belongs to it, `mesg` and `write` rely on.
const PTS: Mount = Mount {
    path: "/dev/pts",
    kind: "devpts",
    flags: MsFlags::MS_NOSUID.union(MsFlags::MS_NOEXEC),
    options: "newinstance,ptmxmode=666,mode=620,gid=5",
    mode: 0o755,
    lack: "no terminal can be opened, and so no shell",
};

/// For user namespaces that have no such group.
const PTS_WITHOUT_GROUP: Mount = Mount { options: "newinstance,ptmxmode=666,mode=620", ..PTS };

const SHM: Mount = Mount {
    path: "/dev/shm",
    kind: TMPFS,
    flags: INERT,
    options: "mode=1777",
    mode: 0o1777,
    lack: "programs that share memory under a name fail",
};

/// With execution: compilers and installers run what they put there.
const TMP: Mount = Mount {
    path: "/tmp",
    kind: TMPFS,
    flags: MsFlags::MS_NOSUID.union(MsFlags::MS_NODEV),
    options: "mode=1777",
    mode: 0o1777,
    lack: "programs have no place for temporary files",
};

const RUN: Mount = Mount {
    path: "/run",
    options: "mode=755",
    mode: 0o755,
    lack: "programs have no place for their sockets and locks",
    ..TMP
};

/// Devices that every program may use: name, major and minor number.
const DEVICES: [(&str, u64, u64); 6] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];

const LINKS: [(&str, &str); 4] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
];

/// Mounts what is missing, if this is process 1 and the operator `allowed` it.
///
/// # Errors
/// Only if there is no /proc in the end.
pub(crate) fn prepare(allowed: bool) -> Result<()> {
    let ours = allowed && std::process::id() == 1;
    if ours {
        let mounted = fill_in();
        if !mounted.is_empty() {
            info!(paths = mounted.join(" "), "mounted what was missing");
        }
    }
    if !there("/proc/self") {
        let advice = if ours { "" } else { ", or let the agent do it as process 1, without --no-mounts" };
        bail!("there is no /proc, and without it {}: mount it before the agent starts{advice}", PROC.lack);
    }
    Ok(())
}

/// One after the other, each on top of what came before; what was mounted.
fn fill_in() -> Vec<&'static str> {
    let mut mounted = Vec::new();
    let mut provide = |missing: bool, wanted: &[Mount]| {
        mounted.extend(missing.then(|| first_that_mounts(wanted)).flatten());
    };
    provide(!there("/proc/self"), &[PROC]);
    if !there("/dev/null") {
        // Else, as images hold it that were made from containers, it is added to.
        provide(!has_entries("/dev"), &[DEV]);
        furnish_dev();
    }
    if open_terminal().is_err() {
        provide(!has_entries("/dev/pts"), &[PTS, PTS_WITHOUT_GROUP]);
        // If it is there, it is a device, which finds the terminals in `pts` beside it.
        let _ = symlink("pts/ptmx", "/dev/ptmx");
        if let Err(error) = open_terminal() {
            warn!(error = %error, "cannot open /dev/ptmx: {}", PTS.lack);
        }
    }
    provide(!there("/dev/shm"), &[SHM]);
    for place in [TMP, RUN] {
        provide(!there(place.path) || is_of_no_use(place.path), &[place]);
    }
    mounted
}

/// The path of the first that can be mounted. If none can, what that means and why the last could not.
fn first_that_mounts(wanted: &[Mount]) -> Option<&'static str> {
    let mut failed = None;
    for wish in wanted {
        match wish.provide() {
            Ok(()) => return Some(wish.path),
            Err(error) => failed = Some((wish, error)),
        }
    }
    let (wish, error) = failed?;
    let error = format!("{error:#}");
    if wish.kind == TMPFS && there(wish.path) && !is_of_no_use(wish.path) {
        info!(error, "{} is a folder of the image: no tmpfs can be mounted there", wish.path);
    } else {
        warn!(error, "cannot mount {} at {}: {}", wish.kind, wish.path, wish.lack);
    }
    None
}

impl Mount {
    /// Makes the folder if there is none, and mounts. Where only that fails, the folder does as well as a tmpfs.
    fn provide(&self) -> Result<()> {
        let path = Path::new(self.path);
        if has_entries(self.path) {
            bail!("the folder is not empty");
        }
        if !path.is_dir() {
            let made = DirBuilder::new().mode(self.mode).create(path);
            // Once more, past the umask.
            made.and_then(|()| fs::set_permissions(path, Permissions::from_mode(self.mode)))
                .context("cannot make the folder")?;
        }
        let options = Some(self.options).filter(|options| !options.is_empty());
        mount(Some(self.kind), path, Some(self.kind), self.flags, options).map_err(|error| match error {
            Errno::EPERM => anyhow::anyhow!("that needs CAP_SYS_ADMIN"),
            error => error.into(),
        })
    }
}

/// Puts into /dev what is not there.
fn furnish_dev() {
    let device = |name: &str, major, minor| -> io::Result<()> {
        let path = Path::new("/dev").join(name);
        mknod(&path, SFlag::S_IFCHR, Mode::empty(), makedev(major, minor))?;
        fs::set_permissions(&path, Permissions::from_mode(0o666))
    };
    let devices = DEVICES.into_iter().map(|(name, major, minor)| (name, device(name, major, minor)));
    let links = LINKS.into_iter().map(|(name, to)| (name, symlink(to, Path::new("/dev").join(name))));
    let failed: Vec<String> = devices
        .chain(links)
        .filter_map(|(name, made)| made.err().map(|error| (name, error)))
        .filter(|(_, error)| error.kind() != io::ErrorKind::AlreadyExists)
        .map(|(name, error)| format!("{name}: {error}"))
        .collect();
    if !failed.is_empty() {
        warn!(error = failed.join(", "), "cannot make what belongs into /dev");
    }
}

/// Opens a terminal and closes it again: nothing less says that it works.
fn open_terminal() -> io::Result<()> {
    let mut how = OpenOptions::new();
    how.read(true).write(true).custom_flags(libc::O_NOCTTY).open("/dev/ptmx").map(drop)
}

fn there(path: &str) -> bool {
    Path::new(path).exists()
}

/// Whether it may hold something: one that cannot be looked into counts as if it did.
fn has_entries(path: &str) -> bool {
    match fs::read_dir(path) {
        Ok(mut entries) => entries.next().is_some(),
        Err(error) => error.kind() != io::ErrorKind::NotFound,
    }
}

/// Whether nothing is there and nothing ever will be, because nobody can write there.
fn is_of_no_use(path: &str) -> bool {
    let flags = rustix::fs::statvfs(path).map(|found| found.f_flag);
    !has_entries(path) && flags.is_ok_and(|flags| flags.contains(StatVfsMountFlags::RDONLY))
}
