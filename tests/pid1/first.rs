//! The agent as process 1 of a pid namespace, seen from outside, and what its clients let it start.

use std::fs;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pid1_sdk::api::{Exec, command::Body};

use super::inits::children;
use crate::support::{Agent, Launch, Peer};

pub struct First {
    pub agent: Agent,
    /// Of the agent, as seen from here; the support knows its starter.
    pub pid: i32,
}

impl First {
    pub async fn start(flags: &[&str]) -> First {
        First::of(Launch::new().flags(flags)).await
    }

    pub async fn of(launch: Launch) -> First {
        let agent = launch.first().start().await;
        let pid = children(agent.pid())[0];
        First { agent, pid }
    }

    /// The pids inside of all processes but the first, and whether they are zombies; from its own /proc.
    pub fn others(&self) -> Vec<(i32, bool)> {
        let entries = fs::read_dir(format!("/proc/{}/root/proc", self.pid)).unwrap();
        let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
        let state = |pid: i32| {
            let stat = fs::read_to_string(format!("/proc/{}/root/proc/{pid}/stat", self.pid)).ok()?;
            Some((pid, stat.rsplit_once(") ")?.1.starts_with('Z')))
        };
        pids.filter(|pid| *pid != 1).filter_map(state).collect()
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid), signal).unwrap();
    }
}

/// A program without a terminal.
pub fn exec(args: &[&str]) -> Body {
    Body::Exec(Exec { args: args.iter().map(|&arg| arg.to_owned()).collect(), ..Exec::default() })
}

/// Starts a script on a channel of its own.
pub async fn run_script(client: &mut Peer, script: &str) -> i32 {
    let channel = client.open("exec", "").await;
    client.send(channel, exec(&["bash", "-c", script])).await;
    channel
}

/// What makes a daemon of this script: two forks and a session of its own. Nothing leads from it to who started it.
pub fn daemon(script: &str) -> String {
    let quoted = script.replace('\'', r"'\''");
    format!("setsid bash -c '(bash -c \"$1\" < /dev/null > /dev/null 2>&1 &)' bash '{quoted}'")
}

/// A daemon that says in files of this name, with `-up` and `-told`, when it is there and when it is told to go.
pub fn witness(name: &str) -> String {
    daemon(&format!("trap 'echo > {name}-told; exit' TERM; echo > {name}-up; while :; do sleep 0.1; done"))
}
