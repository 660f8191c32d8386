//! Which programs run, in a file, for the agent that comes after one that was killed.
//!
//! One line per start and end, appended in one write without fsync: the file must survive the agent, not the machine; the
//! boot id in its head makes it void after a restart. What it deliberately does not do: record arguments or environments.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

use super::lock;
use super::proc_fs::{Identity, Kinship, Scans, boot_id};
use super::stop::Family;
use crate::limits::RECORD_LINES;
use crate::runtimes::Runtimes;

const FILE: &str = "processes";

/// The record of one table.
pub(super) struct Record {
    path: PathBuf,
    head: String,
    open: Mutex<Open>,
}

struct Open {
    file: File,
    live: HashMap<Identity, Kinship>,
    lines: usize,
    failed: bool,
}

impl Record {
    /// Continues the record in `folder` if it is of this boot, else begins a new one.
    ///
    /// # Errors
    /// If the file cannot be read or written.
    pub(super) fn open(folder: &Path) -> io::Result<Self> {
        let path = folder.join(FILE);
        let head = format!("pid1 processes 1 {}\n", boot_id()?);
        let live = read(&path, &head)?;
        let file = write(&path, &head, &live)?;
        Ok(Self { path, head, open: Mutex::new(Open { file, live, lines: 0, failed: false }) })
    }

    pub(super) fn started(&self, leader: Identity, kinship: Kinship) {
        let mut open = lock(&self.open);
        open.live.insert(leader, kinship);
        self.append(&mut open, &start_line(leader, kinship));
    }

    pub(super) fn ended(&self, leader: Identity) {
        let mut open = lock(&self.open);
        open.live.remove(&leader);
        self.append(&mut open, &format!("end {} {}\n", leader.pid, leader.start));
    }

    fn append(&self, open: &mut Open, line: &str) {
        open.lines += 1;
        let mut result = open.file.write_all(line.as_bytes());
        if open.lines > RECORD_LINES.max(2 * open.live.len()) {
            open.lines = 0;
            match write(&self.path, &self.head, &open.live) {
                Ok(file) => open.file = file,
                Err(error) => result = result.and(Err(error)),
            }
        }
        // A full disk must not stop programs; said once, not per program.
        if let Err(error) = result
            && !std::mem::replace(&mut open.failed, true)
        {
            tracing::warn!(%error, path = %self.path.display(), "started programs cannot be recorded");
        }
    }
}

/// Ends what programs of a killed agent left running, with their families, and removes the record: to be called with
/// the state folder locked, before a table is made on it. Returns how many of the recorded programs had somebody left.
///
/// # Errors
/// If the record cannot be read or removed; a missing one is nothing to do.
pub async fn end_leftovers(runtimes: &Runtimes, state_dir: &Path, grace: Duration) -> io::Result<usize> {
    let path = state_dir.join(FILE);
    let head = format!("pid1 processes 1 {}\n", boot_id()?);
    let recorded = read(&path, &head)?;
    let scans = Scans::new(runtimes.clone());
    let deadline = Instant::now() + grace;
    let mut alive = Vec::new();
    // First all get their signal, then all share the grace.
    for (leader, kinship) in recorded {
        let mut family = Family::new(&scans, runtimes, leader, kinship);
        let soft = family.soft_signals();
        match family.signal(soft).await {
            Some(members) if members.count > 0 => alive.push((family, members)),
            Some(_) => {}
            None => return Err(io::Error::other("cannot list the processes in /proc")),
        }
    }
    let count = alive.len();
    for (family, members) in &mut alive {
        let members = std::mem::replace(members, super::stop::Members::none());
        family.gone(members, deadline).await;
        family.kill().await;
    }
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(count),
    }
}

fn start_line(leader: Identity, kinship: Kinship) -> String {
    let kind = match kinship {
        Kinship::Session => "session",
        Kinship::Group => "group",
    };
    format!("start {} {} {kind}\n", leader.pid, leader.start)
}

/// The programs without an end in the record at `path`; none if it has another head or is missing.
fn read(path: &Path, head: &str) -> io::Result<HashMap<Identity, Kinship>> {
    let text = match std::fs::read(path) {
        Ok(text) => String::from_utf8_lossy(&text).into_owned(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error),
    };
    let mut live = HashMap::new();
    let Some(lines) = text.strip_prefix(head) else {
        return Ok(live);
    };
    for line in lines.lines() {
        let mut words = line.split(' ');
        let (Some(what), Some(Ok(pid)), Some(Ok(start))) =
            (words.next(), words.next().map(str::parse), words.next().map(str::parse))
        else {
            // Cut off by the end of the agent or a full disk.
            continue;
        };
        let leader = Identity { pid, start };
        match (what, words.next()) {
            ("start", Some("session")) => live.insert(leader, Kinship::Session),
            ("start", Some("group")) => live.insert(leader, Kinship::Group),
            ("end", None) => live.remove(&leader),
            _ => None,
        };
    }
    Ok(live)
}

/// Writes a new record beside the old one, puts it in its place, and returns it open at its end.
fn write(path: &Path, head: &str, live: &HashMap<Identity, Kinship>) -> io::Result<File> {
    let mut text = head.to_owned();
    for (leader, kinship) in live {
        text.push_str(&start_line(*leader, *kinship));
    }
    let beside = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    file.write_all(text.as_bytes())?;
    std::fs::rename(&beside, path)?;
    Ok(file)
}
