//! The machine as /proc shows it, and this process's own limit.

use std::fs;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use rustix::process::{Pid, Rlimit, prlimit};

use super::Agent;

fn pids() -> impl Iterator<Item = i32> {
    fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

/// Living processes that were started with `variable` (`NAME=value`) in their environment.
pub fn marked(variable: &str) -> Vec<i32> {
    let has = |pid: &i32| {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|entry| entry == variable.as_bytes()) && alive(*pid)
    };
    pids().filter(has).collect()
}

pub fn children(pid: i32) -> Vec<i32> {
    let list = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

/// Those of `pids` whose command line contains `text`.
pub fn named(pids: &[i32], text: &str) -> Vec<i32> {
    let command_line = |pid: i32| {
        let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).replace('\0', " ")
    };
    pids.iter().copied().filter(|pid| command_line(*pid).contains(text)).collect()
}

/// Whether it runs: a zombie does not.
pub fn alive(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The state stands behind the name, which may hold anything, in brackets.
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

/// Whether it is stopped, as ctrl-z does it.
pub fn stopped(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
}

fn status(pid: i32, field: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    number.unwrap_or_else(|| panic!("{field} of {pid} cannot be read"))
}

pub fn rss_bytes(pid: i32) -> u64 {
    status(pid, "VmRSS") * 1024
}

/// The most it ever was.
pub fn peak_rss_bytes(pid: i32) -> u64 {
    status(pid, "VmHWM") * 1024
}

pub fn threads_of(pid: i32) -> usize {
    status(pid, "Threads") as usize
}

pub fn descriptors(pid: i32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

/// What is in its files that have no name.
pub fn nameless_bytes(pid: i32) -> u64 {
    let open = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let nameless = open.flatten().map(|entry| entry.path()).filter(|path| {
        fs::read_link(path).is_ok_and(|target| target.to_string_lossy().ends_with("(deleted)"))
    });
    nameless.filter_map(|path| Some(fs::metadata(path).ok()?.len())).sum()
}

/// What it has written so far, to anything.
pub fn wrote_bytes(pid: i32) -> u64 {
    let io = fs::read_to_string(format!("/proc/{pid}/io")).unwrap_or_default();
    io.lines().find_map(|line| line.strip_prefix("wchar: ")?.parse().ok()).unwrap_or_default()
}

/// From here on this process may have so many descriptors open, and agents that it starts.
pub fn raise_descriptor_limit(needed: usize) {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    let needed = needed as u64;
    if soft < needed {
        let raised = setrlimit(Resource::RLIMIT_NOFILE, needed, hard.max(needed));
        raised.unwrap_or_else(|error| panic!("{needed} descriptors are needed, {hard} are allowed: {error}"));
    }
}

/// While this lives, the agent can open nothing.
pub struct Shortage {
    agent: Pid,
    before: Rlimit,
}

impl Shortage {
    pub fn of(agent: &Agent) -> Shortage {
        let is_free =
            |number: &u64| fs::symlink_metadata(format!("/proc/{}/fd/{number}", agent.pid())).is_err();
        let lowest = (0..).find(is_free);
        let agent = Pid::from_raw(agent.pid()).unwrap();
        let none = Rlimit { current: lowest, maximum: getrlimit(Resource::RLIMIT_NOFILE).unwrap().1.into() };
        let before = prlimit(Some(agent), rustix::process::Resource::Nofile, none).unwrap();
        Shortage { agent, before }
    }
}

impl Drop for Shortage {
    fn drop(&mut self) {
        prlimit(Some(self.agent), rustix::process::Resource::Nofile, self.before).unwrap();
    }
}
