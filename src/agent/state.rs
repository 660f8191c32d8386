//! The state folder: what must outlive the agent. One agent at a time, nobody else's eyes.

use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use nix::fcntl::{Flock, FlockArg};
use nix::unistd::geteuid;

/// Only the agent's user may look inside.
const MODE: u32 = 0o700;

/// An open state folder; locked while this lives.
#[derive(Debug)]
pub struct StateDir {
    path: PathBuf,
    _lock: Flock<File>,
}

/// Where the state of the agent for `root` is kept if nobody says otherwise.
pub fn default_dir(root: &Path) -> Result<PathBuf> {
    if geteuid().is_root() {
        return Ok(PathBuf::from("/var/lib/pid1"));
    }
    let from_home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".local/state"));
    let base = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from).filter(|dir| dir.is_absolute());
    let base =
        base.or_else(from_home).context("neither HOME nor XDG_STATE_HOME is set: give --state-dir DIR")?;
    // Several agents of one user, each for a folder of its own.
    Ok(base.join("pid1").join(format!("{:016x}", fnv1a(root.as_os_str().as_bytes()))))
}

/// FNV-1a, which is the same in every release of every compiler: the state of a folder must be found again.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// `path` without links and `..`, as far as it exists.
pub fn real_path(path: &Path) -> PathBuf {
    path.ancestors()
        .find_map(|known| Some((known, known.canonicalize().ok()?)))
        .and_then(|(known, real)| Some(real.join(path.strip_prefix(known).ok()?)))
        .unwrap_or_else(|| path.to_owned())
}

impl StateDir {
    /// Makes the folder if needed and locks it.
    pub fn open(path: &Path) -> Result<StateDir> {
        let make = || {
            fs::DirBuilder::new().recursive(true).mode(MODE).create(path)?;
            fs::metadata(path)
        };
        let advice =
            || format!("cannot use the state folder {}: choose another with --state-dir DIR", path.display());
        let found = make().with_context(advice)?;
        if found.uid() != geteuid().as_raw() {
            bail!(
                "the state folder {} belongs to another user: choose another with --state-dir DIR",
                path.display()
            );
        }
        if found.mode() & 0o777 != MODE {
            fs::set_permissions(path, fs::Permissions::from_mode(MODE)).with_context(advice)?;
        }
        let file = path.join("lock");
        let lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&file)
            .with_context(|| format!("cannot open {}", file.display()))?;
        match Flock::lock(lock, FlockArg::LockExclusiveNonblock) {
            Ok(mut lock) => {
                // Who holds it is for people to read; a full disk is no reason not to serve who could make room.
                let _ = lock.set_len(0).and_then(|()| writeln!(lock, "{}", std::process::id()));
                Ok(StateDir { path: path.to_owned(), _lock: lock })
            }
            Err((mut other, _)) => {
                let mut holder = String::new();
                let _ = other.read_to_string(&mut holder);
                bail!(
                    "the state folder {} is in use by another agent (pid {}): stop that one, or give this one its \
                     own with --state-dir DIR",
                    path.display(),
                    if holder.is_empty() { "unknown" } else { holder.trim() }
                );
            }
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}
