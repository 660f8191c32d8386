//! Every signal that can be forwarded reaches the command, and whom else it reaches.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::inits::{ALL, LIKE_DUMB_INIT, Running, Under, Who, field, send, trapped, until_state};
use crate::support::{LATE, SOON, eventually};

/// Prints each signal it gets. What it waits for is out of their reach. It gets all but those that nobody can: KILL, STOP, and CHLD, which is about children.
const LISTENER: &str = "for s in {1..8} {10..16} 18 {20..31} {34..64}; do trap \"echo got $s.\" $s; done
    setsid sleep 1000 & echo ready; while :; do wait; done";

/// What the listener traps.
pub fn all() -> BTreeSet<i32> {
    (1..=64).filter(|number| ![9, 17, 19, 32, 33].contains(number)).collect()
}

/// They come from faults of the process itself; sent by others they are signals as all.
pub const FAULTS: [Signal; 7] = [
    Signal::SIGILL,
    Signal::SIGTRAP,
    Signal::SIGABRT,
    Signal::SIGBUS,
    Signal::SIGFPE,
    Signal::SIGSEGV,
    Signal::SIGSYS,
];

/// Of a terminal that wants a group to stop.
pub const STOPS: [Signal; 3] = [Signal::SIGTSTP, Signal::SIGTTIN, Signal::SIGTTOU];

const MARK: i32 = Signal::SIGUSR1 as i32;
const PATIENCE: Duration = Duration::from_millis(300);

/// Sends `wanted` to the init one by one; those that the command got.
pub async fn forwarded(under: Under, wanted: &BTreeSet<i32>) -> BTreeSet<i32> {
    let running = under.sh(LISTENER);
    running.until("ready", 1).await;
    let init = running.init().await;
    let got = |number: i32| running.out().matches(&format!("got {number}.")).count();
    let mut reached = BTreeSet::new();
    for &number in wanted {
        send(init, number);
        // It has read it when it no longer waits.
        eventually("the init has taken the signal", SOON, || !is_pending(init, number)).await;
        // What it does not forward is told by two signals in turn that came later and are there. They are sent late, and
        // again: bash forgets one that comes while it ends the trap of another.
        let (before, begin) = (got(MARK), Instant::now());
        let mut sent = 0;
        eventually("the command hears of it, or of what came later", LATE, || {
            if begin.elapsed() > PATIENCE * (sent + 1) {
                sent += 1;
                send(init, MARK);
            }
            got(number) > 0 || got(MARK) > before + 1
        })
        .await;
        if got(number) > 0 {
            reached.insert(number);
        }
    }
    reached
}

fn is_pending(pid: i32, number: i32) -> bool {
    let mask = u64::from_str_radix(&field(pid, "ShdPnd"), 16).unwrap_or_default();
    mask >> (number - 1) & 1 == 1
}

fn numbers(signals: &[Signal]) -> BTreeSet<i32> {
    signals.iter().map(|signal| *signal as i32).collect()
}

#[tokio::test]
async fn the_command_gets_every_signal_that_tini_forwards_and_the_faults_too() {
    let background = numbers(&[Signal::SIGTTIN, Signal::SIGTTOU]);
    let by_tini = forwarded(Under::new(Who::Tini), &all()).await;
    assert_eq!(&(&all() - &numbers(&FAULTS)) - &background, by_tini);
    for init in [Who::Pid1, Who::AsTini] {
        assert_eq!(forwarded(Under::new(init), &all()).await, &all() - &background, "{init:?}");
    }
}

#[tokio::test]
async fn the_session_gets_every_signal_that_dumb_init_forwards() {
    let wanted = &all() - &numbers(&STOPS);
    for init in LIKE_DUMB_INIT {
        assert_eq!(forwarded(Under::new(init), &wanted).await, wanted, "{init:?}");
        // To the command alone, a stop is a signal as all.
        let single = Under::new(init).flags(&["-c"]);
        assert_eq!(forwarded(single, &all()).await, all(), "{init:?} -c");
    }
}

/// A command and its own child: who says TERM when the init gets it.
pub async fn reached(under: Under) -> (bool, bool) {
    let script = "bash -c 'trap \"echo child:term\" TERM; trap \"echo child:asked\" USR2; echo child:ready
          while :; do sleep 1000 & wait; done' &
        trap 'echo command:term' TERM; trap \"kill -USR2 $!\" USR1; echo command:ready; while :; do wait; done";
    let running = under.sh(script);
    running.until(":ready", 2).await;
    running.signal(Signal::SIGTERM as i32).await;
    running.until("command:term", 1).await;
    // What the child says now comes after what it would have said.
    let command = running.command().await;
    let asked = || running.out().contains("child:asked");
    trapped(command, Signal::SIGUSR1 as i32, "the child is asked", asked).await;
    (true, running.out().contains("child:term"))
}

#[tokio::test]
async fn a_group_is_reached_where_it_is_asked_for() {
    for init in [Who::Pid1, Who::AsTini, Who::Tini] {
        assert_eq!(reached(Under::new(init)).await, (true, false), "{init:?}");
        assert_eq!(reached(Under::new(init).flags(&["-g"])).await, (true, true), "{init:?} -g");
        let asked = Under::new(init).env("TINI_KILL_PROCESS_GROUP", "");
        assert_eq!(reached(asked).await, (true, true), "{init:?} TINI_KILL_PROCESS_GROUP");
    }
    for init in LIKE_DUMB_INIT {
        assert_eq!(reached(Under::new(init)).await, (true, true), "{init:?}");
        assert_eq!(reached(Under::new(init).flags(&["-c"])).await, (true, false), "{init:?} -c");
        let asked = Under::new(init).env("DUMB_INIT_SETSID", "0");
        assert_eq!(reached(asked).await, (true, false), "{init:?} DUMB_INIT_SETSID");
    }
}

/// As `docker pause` would be by hand: TSTP stops the command, CONT lets it go on.
#[tokio::test]
async fn a_command_can_be_stopped_and_continued_through_its_init() {
    for init in ALL {
        let running = Under::new(init).sh("echo ready; exec sleep 1000");
        running.until("ready", 1).await;
        let command = running.command().await;
        for _ in 0..2 {
            running.signal(Signal::SIGTSTP as i32).await;
            until_state(command, "T").await;
            // Process 1 goes on, whatever it did to itself.
            running.signal(Signal::SIGCONT as i32).await;
            until_state(command, "S").await;
        }
    }
}

/// What stops the command stops the init too, so that whoever waits for it sees a stopped job.
#[tokio::test]
async fn an_init_that_is_not_process_1_stops_with_its_command() {
    for init in ALL {
        let running = Under::below(init).prefix(&["setsid", "bash", "-c", HOLD, "bash"]);
        let running = running.sh("echo ready; exec sleep 1000");
        running.until("ready", 1).await;
        let job = descendant(&running, 1).await;
        let command = descendant(&running, 2).await;
        send(job, Signal::SIGTSTP as i32);
        until_state(command, "T").await;
        if init == Who::Tini {
            until_state(job, "S").await;
        } else {
            until_state(job, "T").await;
        }
        send(job, Signal::SIGCONT as i32);
        until_state(command, "S").await;
        until_state(job, "S").await;
        send(job, Signal::SIGTERM as i32);
        until_state(job, "").await;
    }
}

/// A shell with job control and no terminal. It has one job.
const HOLD: &str = "set -m; \"$@\" & read line";

/// The only child of the only child, so many steps down.
async fn descendant(running: &Running, steps: usize) -> i32 {
    let mut found = running.init().await;
    for _ in 0..steps {
        let mut next = None;
        eventually("a child is started", SOON, || {
            next = super::inits::children(found).first().copied();
            next.is_some()
        })
        .await;
        found = next.unwrap();
    }
    found
}
