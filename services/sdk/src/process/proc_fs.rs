//! Who belongs to whom, as /proc tells it: parents, groups, sessions, and start times against reused pids.
//!
//! What it deliberately does not do: signal anybody, or keep a picture longer than one look needs.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, Write as _};
use std::sync::{Arc, Mutex};

use tokio::sync::oneshot;

use super::lock;
use crate::runtimes::Runtimes;

/// One process and when it started; together never reused until the next boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Identity {
    pub(super) pid: i32,
    /// Clock ticks after boot.
    pub(super) start: u64,
}

/// What /proc says of one process.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stat {
    pub(super) identity: Identity,
    parent: i32,
    group: i32,
    session: i32,
    /// It has a controlling terminal.
    pub(super) terminal: bool,
    /// A thread of the kernel, which shows where process 1 is not in a container.
    kernel: bool,
    /// Dead, but not yet collected by its parent.
    pub(super) zombie: bool,
}

/// What a program and those it started have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kinship {
    /// A terminal: its session.
    Session,
    /// A terminal whose descendants are ended with it, too.
    Tree,
    /// Pipes: its group, its descendants, and the groups and sessions these began.
    Group,
}

/// PF_KTHREAD of the kernel's sched.h, among the flags of a process.
const KERNEL_THREAD: u32 = 0x0020_0000;

/// The process `pid`, or None if there is none.
pub(super) fn stat(pid: i32) -> Option<Stat> {
    parse(&std::fs::read(format!("/proc/{pid}/stat")).ok()?)
}

/// The children that this process has.
pub(super) fn children() -> Vec<Identity> {
    // Those that a process had before it became this program belong to its first thread.
    let own = i32::try_from(std::process::id()).unwrap_or_default();
    children_of(own).into_iter().filter_map(|pid| stat(pid).map(|stat| stat.identity)).collect()
}

/// The children that the first thread of `pid` has.
pub(super) fn children_of(pid: i32) -> Vec<i32> {
    let pids = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    pids.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

/// Sets how soon `pid` is killed when memory runs out; whom it starts from then on inherits that. One that is gone, or
/// has become another user's, is left as it is.
pub(super) fn set_oom_score(pid: i32, score: i32) {
    // Not `fs::write`: to make a file, or to cut it, takes locks that this one does not need.
    let file = File::options().write(true).open(format!("/proc/{pid}/oom_score_adj"));
    // In one go, too: the sign alone would be no number.
    let _ = file.and_then(|mut file| file.write_all(score.to_string().as_bytes()));
}

/// The same for `children`, and those that they in turn have started, where it is still ours: a program that has chosen
/// one for itself keeps it.
pub(super) fn set_oom_scores(children: Vec<i32>, score: i32) {
    let of = |process: &str| std::fs::read_to_string(format!("/proc/{process}/oom_score_adj")).ok();
    let Some(own) = of("self") else { return };
    let mut waiting = children;
    while let Some(child) = waiting.pop() {
        if of(&child.to_string()).is_some_and(|found| found == own) {
            set_oom_score(child, score);
        }
        waiting.extend(children_of(child));
    }
}

/// Tells this boot from any other.
pub(super) fn boot_id() -> io::Result<String> {
    Ok(std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

fn parse(line: &[u8]) -> Option<Stat> {
    let open = line.iter().position(|byte| *byte == b'(')?;
    // The name is in parentheses, may hold any of them, and is the only field that does.
    let close = line.iter().rposition(|byte| *byte == b')')?;
    let pid = std::str::from_utf8(line.get(..open)?).ok()?.trim().parse().ok()?;
    let rest = std::str::from_utf8(line.get(close + 1..)?).ok()?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().take(20).collect();
    let number = |index: usize| fields.get(index).and_then(|field| field.parse().ok());
    Some(Stat {
        identity: Identity { pid, start: fields.get(19)?.parse().ok()? },
        zombie: matches!(*fields.first()?, "Z" | "X" | "x"),
        parent: number(1)?,
        group: number(2)?,
        session: number(3)?,
        terminal: number(4)? != 0,
        kernel: fields.get(6)?.parse::<u32>().ok()? & KERNEL_THREAD != 0,
    })
}

/// All processes at one moment.
#[derive(Default)]
pub(super) struct Snapshot {
    all: HashMap<i32, Stat>,
    children: HashMap<i32, Vec<i32>>,
    groups: HashMap<i32, Vec<i32>>,
    sessions: HashMap<i32, Vec<i32>>,
}

impl Snapshot {
    fn take() -> io::Result<Self> {
        let mut snapshot = Self::default();
        for entry in std::fs::read_dir("/proc")? {
            let name = entry?.file_name();
            let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            // Gone since the listing, most likely.
            let Some(stat) = stat(pid) else { continue };
            snapshot.add(stat);
        }
        Ok(snapshot)
    }

    fn add(&mut self, stat: Stat) {
        let pid = stat.identity.pid;
        self.all.insert(pid, stat);
        self.children.entry(stat.parent).or_default().push(pid);
        self.groups.entry(stat.group).or_default().push(pid);
        self.sessions.entry(stat.session).or_default().push(pid);
    }

    /// The family of `leader`, who may be dead, without zombies, and never this agent or process 1.
    ///
    /// `known` are members found before: what they have begun since belongs to the family although the link to the
    /// leader may be gone. Grows by what is found.
    pub(super) fn family(
        &self,
        leader: Identity,
        kinship: Kinship,
        known: &mut HashSet<Identity>,
    ) -> Vec<Identity> {
        let mut found: HashSet<Identity> = HashSet::new();
        let mut queue: Vec<i32> = Vec::new();
        match kinship {
            Kinship::Session => queue.extend(self.led_by(leader, &self.sessions)),
            Kinship::Group | Kinship::Tree => {
                known.insert(leader);
                for member in known.iter() {
                    if self.is_now(*member) {
                        queue.push(member.pid);
                    }
                    queue.extend(self.led_by(*member, &self.groups));
                    queue.extend(self.led_by(*member, &self.sessions));
                }
            }
        }
        while let Some(pid) = queue.pop() {
            let Some(stat) = self.all.get(&pid) else { continue };
            if i64::from(pid) == i64::from(std::process::id()) || pid == 1 || !found.insert(stat.identity) {
                continue;
            }
            if kinship != Kinship::Session {
                queue.extend(self.children.get(&pid).into_iter().flatten());
                queue.extend(self.led_by(stat.identity, &self.groups));
                queue.extend(self.led_by(stat.identity, &self.sessions));
            }
        }
        known.extend(&found);
        found.retain(|member| self.all.get(&member.pid).is_some_and(|stat| !stat.zombie));
        found.into_iter().collect()
    }

    /// Who is left to this process, without zombies: as process 1 everybody, else its descendants. `strangers` are left
    /// out with all their descendants.
    pub(super) fn rest(&self, strangers: &[Identity]) -> Vec<Identity> {
        let own = std::process::id().cast_signed();
        let mut queue: Vec<i32> = match own {
            1 => self.all.keys().copied().filter(|pid| *pid != 1).collect(),
            _ => self.children.get(&own).cloned().unwrap_or_default(),
        };
        let mut found: HashSet<Identity> = HashSet::new();
        while let Some(pid) = queue.pop() {
            let Some(stat) = self.all.get(&pid) else { continue };
            if stat.kernel || strangers.contains(&stat.identity) || !found.insert(stat.identity) {
                continue;
            }
            queue.extend(self.children.get(&pid).into_iter().flatten());
        }
        found.retain(|member| self.all.get(&member.pid).is_some_and(|stat| !stat.zombie));
        found.into_iter().collect()
    }

    fn is_now(&self, identity: Identity) -> bool {
        self.all.get(&identity.pid).is_some_and(|stat| stat.identity == identity)
    }

    /// The members of the group or session that `leader` began.
    ///
    /// The kernel gives a number to nobody else while a group or session has it. So if the number now is another
    /// process's pid, the old group has died out and this one is not ours.
    fn led_by(&self, leader: Identity, by: &HashMap<i32, Vec<i32>>) -> impl Iterator<Item = i32> {
        let reused = self.all.get(&leader.pid).is_some_and(|stat| stat.identity != leader);
        let members = by.get(&leader.pid).filter(|_| !reused);
        members
            .into_iter()
            .flatten()
            .copied()
            // A member that started before its leader is of an earlier group of that number.
            .filter(move |pid| self.all.get(pid).is_some_and(|stat| stat.identity.start >= leader.start))
    }
}

/// Takes snapshots on the blocking pool, one at a time: a hundred programs stopped together share one or two.
#[derive(Clone)]
pub(super) struct Scans {
    waiting: Arc<Mutex<Waiting>>,
    runtimes: Runtimes,
}

#[derive(Default)]
struct Waiting {
    callers: Vec<oneshot::Sender<Arc<Snapshot>>>,
    scanning: bool,
}

impl Scans {
    pub(super) fn new(runtimes: Runtimes) -> Self {
        Self { waiting: Arc::default(), runtimes }
    }

    /// A snapshot begun after this call; None if /proc cannot be read.
    pub(super) async fn fresh(&self) -> Option<Arc<Snapshot>> {
        let (sender, receiver) = oneshot::channel();
        let begin = {
            let mut waiting = lock(&self.waiting);
            waiting.callers.push(sender);
            !std::mem::replace(&mut waiting.scanning, true)
        };
        if begin {
            let waiting = self.waiting.clone();
            // Not awaited: it answers every caller, also after this one has been dropped.
            drop(self.runtimes.spawn_blocking(move || scan_for_all(&waiting)));
        }
        receiver.await.ok()
    }
}

fn scan_for_all(waiting: &Mutex<Waiting>) {
    loop {
        let callers = {
            let mut waiting = lock(waiting);
            if waiting.callers.is_empty() {
                waiting.scanning = false;
                return;
            }
            std::mem::take(&mut waiting.callers)
        };
        match Snapshot::take() {
            Ok(snapshot) => {
                let snapshot = Arc::new(snapshot);
                for caller in callers {
                    // The caller may have been dropped.
                    let _ = caller.send(snapshot.clone());
                }
            }
            Err(error) => tracing::warn!(%error, "cannot list the processes in /proc"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(lines: &[&str]) -> Snapshot {
        let mut snapshot = Snapshot::default();
        for line in lines {
            // pid (name) state parent group session, and the start time as the 22nd field.
            let (head, start) = line.rsplit_once(' ').unwrap();
            let line = format!("{head} {}{start} 0", "0 ".repeat(15));
            snapshot.add(parse(line.as_bytes()).unwrap());
        }
        snapshot
    }

    fn pids(snapshot: &Snapshot, pid: i32, start: u64, kinship: Kinship) -> Vec<i32> {
        let family = snapshot.family(Identity { pid, start }, kinship, &mut HashSet::new());
        let mut pids: Vec<i32> = family.iter().map(|member| member.pid).collect();
        pids.sort_unstable();
        pids
    }

    #[test]
    fn names_may_hold_anything() {
        let stat = parse(b"7 (a) S (b \xff) R 1 2 3 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 99 5 6").unwrap();
        assert_eq!(stat.identity, Identity { pid: 7, start: 99 });
        assert_eq!((stat.parent, stat.group, stat.session, stat.zombie), (1, 2, 3, false));
        assert!(parse(b"7 (a) R 1 2").is_none());
        assert!(parse(b"").is_none());
    }

    #[test]
    fn a_family_is_group_descendants_and_what_they_began() {
        let snapshot = snapshot(&[
            "500 (leader) S 2 500 2 100",
            "501 (child) S 500 500 2 101",
            "502 (own-session) S 501 502 502 102",
            "503 (orphan-of-it) S 1 502 502 103",
            "504 (orphan-in-group) S 1 500 2 104",
            "505 (dead) Z 500 500 2 105",
            "506 (stranger) S 1 506 2 106",
            "2 (parent) S 1 2 2 1",
        ]);
        assert_eq!(pids(&snapshot, 500, 100, Kinship::Group), [500, 501, 502, 503, 504]);
        assert_eq!(pids(&snapshot, 502, 102, Kinship::Session), [502, 503]);
        assert_eq!(pids(&snapshot, 500, 100, Kinship::Tree), [500, 501, 502, 503, 504]);
    }

    #[test]
    fn a_reused_number_is_nobody_of_ours() {
        let snapshot = snapshot(&["500 (other) S 1 500 500 900", "501 (others-child) S 500 500 500 901"]);
        assert!(pids(&snapshot, 500, 100, Kinship::Group).is_empty());
        assert!(pids(&snapshot, 500, 100, Kinship::Session).is_empty());
    }

    #[test]
    fn what_was_known_leads_on_after_its_death() {
        let before = snapshot(&["500 (leader) S 2 500 2 100", "502 (own-session) S 500 502 502 102"]);
        let after = snapshot(&["503 (left) S 1 502 502 103", "504 (stranger) S 1 504 504 104"]);
        let leader = Identity { pid: 500, start: 100 };
        let mut known = HashSet::new();
        assert_eq!(before.family(leader, Kinship::Group, &mut known).len(), 2);
        let left = after.family(leader, Kinship::Group, &mut known);
        assert_eq!(left, [Identity { pid: 503, start: 103 }]);
    }
}
