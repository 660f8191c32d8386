//! Which programs run, in a file, for the agent that comes after one that was killed.
//!
//! One line per start and end, appended in one write without fsync: the file must survive the agent, not the machine; the
//! boot id in its head says whether anybody on it can be alive. What it deliberately does not do: record arguments or
//! environments.

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
use super::spec::ProcessId;
use super::stop::Family;
use crate::limits::RECORD_LINES;
use crate::runtimes::Runtimes;

const FILE: &str = "processes";

/// What the head of a record begins with.
const FORM: &str = "pid1 processes 2 ";

/// A program that an earlier agent on the same state folder had started and whose end it did not see. How it ended nobody
/// can know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost {
    /// Its name in that agent's table; no later program has it.
    pub id: ProcessId,
    /// Its former pid.
    pub pid: i32,
}

/// What an agent finds of the one before it.
#[derive(Debug, Default)]
pub struct Leftovers {
    /// How many programs had somebody left, who is ended now.
    pub ended: usize,
    /// All that ended unseen, oldest first.
    pub lost: Vec<Lost>,
}

/// The record of one table.
pub(super) struct Record {
    path: PathBuf,
    head: String,
    open: Mutex<Open>,
}

struct Open {
    file: File,
    content: Content,
    lines: usize,
    failed: bool,
}

/// What a record says.
#[derive(Default)]
struct Content {
    /// Programs without an end.
    live: HashMap<Identity, (ProcessId, Kinship)>,
    last_id: u64,
}

impl Record {
    /// Continues the record in `folder` if it is of this boot, else begins a new one.
    ///
    /// # Errors
    /// If the file cannot be read or written.
    pub(super) fn open(folder: &Path) -> io::Result<Self> {
        let path = folder.join(FILE);
        let head = format!("{FORM}{}\n", boot_id()?);
        let (content, _) = read(&path, &head)?;
        let file = write(&path, &head, &content)?;
        Ok(Self { path, head, open: Mutex::new(Open { file, content, lines: 0, failed: false }) })
    }

    /// The highest id that was ever recorded.
    pub(super) fn last_id(&self) -> u64 {
        lock(&self.open).content.last_id
    }

    pub(super) fn started(&self, id: ProcessId, leader: Identity, kinship: Kinship) {
        let mut open = lock(&self.open);
        open.content.live.insert(leader, (id, kinship));
        open.content.last_id = id.0;
        self.append(&mut open, &start_line(id, leader, kinship));
    }

    pub(super) fn ended(&self, leader: Identity) {
        let mut open = lock(&self.open);
        open.content.live.remove(&leader);
        self.append(&mut open, &format!("end {} {}\n", leader.pid, leader.start));
    }

    fn append(&self, open: &mut Open, line: &str) {
        open.lines += 1;
        let mut result = open.file.write_all(line.as_bytes());
        if open.lines > RECORD_LINES.max(2 * open.content.live.len()) {
            open.lines = 0;
            match write(&self.path, &self.head, &open.content) {
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

/// Ends what programs of a killed agent left running, with their families, and takes them off the record: to be called
/// with the state folder locked, before a table is made on it.
///
/// # Errors
/// If the record cannot be read or written; a missing one is nothing to do.
pub async fn end_leftovers(runtimes: &Runtimes, state_dir: &Path, grace: Duration) -> io::Result<Leftovers> {
    let path = state_dir.join(FILE);
    let head = format!("{FORM}{}\n", boot_id()?);
    let (Content { live, last_id }, boot) = read(&path, &head)?;
    let mut lost: Vec<Lost> =
        live.iter().map(|(leader, (id, _))| Lost { id: *id, pid: leader.pid }).collect();
    lost.sort_unstable_by_key(|program| program.id);
    let scans = Scans::new(runtimes.clone());
    let deadline = Instant::now() + grace;
    let mut alive = Vec::new();
    // First all get their signal, then all share the grace.
    let reachable = live.into_iter().filter(|_| boot == Boot::This);
    for (leader, (_, kinship)) in reachable {
        let mut family = Family::new(&scans, runtimes, leader, kinship);
        let soft = family.soft_signals();
        match family.signal(soft).await {
            Some(members) if members.count > 0 => alive.push((family, members)),
            Some(_) => {}
            None => return Err(io::Error::other("cannot list the processes in /proc")),
        }
    }
    let ended = alive.len();
    for (family, members) in &mut alive {
        let members = std::mem::replace(members, super::stop::Members::none());
        family.gone(members, deadline).await;
        family.kill().await;
    }
    write(&path, &head, &Content { live: HashMap::new(), last_id })?;
    Ok(Leftovers { ended, lost })
}

fn start_line(id: ProcessId, leader: Identity, kinship: Kinship) -> String {
    let kind = match kinship {
        Kinship::Session => "session",
        Kinship::Tree => "tree",
        Kinship::Group => "group",
    };
    format!("start {} {} {kind} {}\n", leader.pid, leader.start, id.0)
}

/// When a record was written.
#[derive(PartialEq, Eq)]
enum Boot {
    This,
    /// Nobody on it can be alive, whoever has its pid now.
    Earlier,
}

/// The record at `path`, empty if it is missing or of another form.
fn read(path: &Path, head: &str) -> io::Result<(Content, Boot)> {
    let text = match std::fs::read(path) {
        Ok(text) => String::from_utf8_lossy(&text).into_owned(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error),
    };
    let mut content = Content::default();
    let (boot, lines) = match (text.strip_prefix(head), text.split_once('\n')) {
        (Some(lines), _) => (Boot::This, lines),
        (None, Some((other, lines))) if other.starts_with(FORM) => (Boot::Earlier, lines),
        _ => return Ok((content, Boot::Earlier)),
    };
    // The last line is cut off if the agent ended, or the disk was full, in the middle of it.
    for line in lines.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')) {
        content.apply(line);
    }
    Ok((content, boot))
}

impl Content {
    /// What cannot be understood is left out.
    fn apply(&mut self, line: &str) -> Option<()> {
        let mut words = line.split(' ');
        let what = words.next()?;
        let mut number = || words.next()?.parse::<u64>().ok();
        let first = number()?;
        if what == "last" {
            self.last_id = self.last_id.max(first);
            return Some(());
        }
        let leader = Identity { pid: i32::try_from(first).ok()?, start: number()? };
        if what == "end" {
            self.live.remove(&leader);
            return Some(());
        }
        let kinship = match words.next()? {
            "session" => Kinship::Session,
            "tree" => Kinship::Tree,
            "group" => Kinship::Group,
            _ => return None,
        };
        let id = words.next()?.parse().ok()?;
        self.live.insert(leader, (ProcessId(id), kinship));
        self.last_id = self.last_id.max(id);
        Some(())
    }
}

/// Writes a new record beside the old one, puts it in its place, and returns it open at its end.
fn write(path: &Path, head: &str, content: &Content) -> io::Result<File> {
    let mut text = format!("{head}last {}\n", content.last_id);
    for (leader, (id, kinship)) in &content.live {
        text.push_str(&start_line(*id, *leader, *kinship));
    }
    let beside = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    file.write_all(text.as_bytes())?;
    std::fs::rename(&beside, path)?;
    Ok(file)
}
