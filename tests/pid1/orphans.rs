//! Orphans are reaped, however many end at once, and an init that has nothing to do does nothing.

use nix::sys::signal::Signal;

use super::inits::{ALL, LIKE_TINI, Under, Who, children, field, send, state};
use crate::support::{HEAVY, LATE, SOON, eventually, settled, size};

/// Leaves orphans behind that wait, and lets all of them go at a word.
fn orphans(count: usize) -> String {
    format!(
        "mkfifo $FOLDER/gate; for ((i = 0; i < {count}; i++)); do (read < $FOLDER/gate &); done; echo made
         read; exec 9> $FOLDER/gate; exec 9>&-; read; exit 7"
    )
}

fn zombies(init: i32) -> usize {
    children(init).into_iter().filter(|pid| state(*pid) == "Z").count()
}

/// How many orphans are left after they have all ended while the init was held, and so in one SIGCHLD.
pub async fn left_of_a_burst(init: Who, count: usize) -> usize {
    let mut running = Under::new(init).sh(&orphans(count));
    running.until("made", 1).await;
    let pid = running.init().await;
    send(pid, Signal::SIGSTOP as i32);
    running.write("go\n");
    eventually("all have ended", LATE, || zombies(pid) == count).await;
    send(pid, Signal::SIGCONT as i32);
    let left = settled("reaping", LATE, || zombies(pid)).await;
    running.write("end\n");
    assert_eq!(running.status().await, 7, "{init:?}");
    left
}

#[tokio::test]
async fn a_burst_of_orphans_is_reaped() {
    let _alone = HEAVY.lock().await;
    for init in ALL {
        assert_eq!(left_of_a_burst(init, size(200, 10_000)).await, 0, "{init:?}");
    }
}

/// Where an orphan goes: to the init that is a subreaper, with or without being process 1.
#[tokio::test]
async fn a_subreaper_reaps_although_it_is_not_process_1() {
    for init in LIKE_TINI {
        for under in [Under::below(init).flags(&["-s"]), Under::below(init).env("TINI_SUBREAPER", "")] {
            let mut running = under.sh("(sleep 1000 & echo $!); read; exit 3");
            running.until("\n", 1).await;
            let orphan: i32 = running.out().trim().parse().unwrap();
            let own = running.init().await.to_string();
            eventually("the orphan is ours", SOON, || field(orphan, "PPid") == own).await;
            send(orphan, Signal::SIGKILL as i32);
            eventually("it is reaped", SOON, || state(orphan).is_empty()).await;
            assert_eq!(running.log(), "", "{init:?}");
            running.write("\n");
            assert_eq!(running.status().await, 3, "{init:?}");
        }
        // Without: it goes elsewhere, and whoever started this is told.
        let mut running = Under::below(init).sh("exit 4");
        assert_eq!(running.status().await, 4, "{init:?}");
        assert!(running.log().contains("subreaper"), "{init:?} {}", running.log());
        let mut quiet = Under::below(init).env("TINI_VERBOSITY", "0").sh("exit 4");
        assert_eq!(quiet.status().await, 4, "{init:?}");
        assert_eq!(quiet.log(), "", "{init:?}");
    }
}

#[tokio::test]
async fn each_orphan_is_worth_a_warning_if_that_is_asked_for() {
    for init in LIKE_TINI {
        for (flags, warns) in [(&["-w"][..], true), (&[], false)] {
            let mut running = Under::new(init).flags(flags).sh("(sleep 0 &); echo made; read; exit 0");
            running.until("made", 1).await;
            let pid = running.init().await;
            let command = running.command().await;
            eventually("the orphan is reaped", SOON, || children(pid) == [command]).await;
            running.write("\n");
            running.status().await;
            assert_eq!(running.log().to_lowercase().contains("reaped"), warns, "{init:?} {}", running.log());
        }
    }
}

/// tini wakes up every second to look.
#[tokio::test]
async fn an_idle_init_of_ours_does_not_run() {
    for init in [Who::Pid1, Who::AsTini, Who::AsDumbInit] {
        let running = Under::new(init).sh("echo ready; exec sleep 1000");
        running.until("ready", 1).await;
        let pid = running.init().await;
        let switches = || field(pid, "voluntary_ctxt_switches");
        let before = settled("starting", SOON, switches).await;
        assert_eq!(settled("idling", SOON, switches).await, before, "{init:?}");
        assert_eq!(field(pid, "Threads"), "1");
    }
}

/// Whoever starts us may ignore the ends of children, and a program inherits that.
#[tokio::test]
async fn a_status_is_not_lost_where_ends_of_children_are_ignored() {
    for init in [Who::Pid1, Who::AsTini, Who::AsDumbInit, Who::DumbInit] {
        let under = Under::new(init).prefix(&["env", "--ignore-signal=CHLD"]);
        assert_eq!(under.run("/bin/true; exit 42").await.0, 42, "{init:?}");
    }
}
