//! Stopping reaches the whole family and nobody else.

use super::super::{Cause, ExitStatus, ProcessId, Signal, StopCause, record};
use super::*;

fn patient(grace: Duration) -> ProcessTable {
    table_with(TableConfig { stop_grace: grace, ..TableConfig::default() })
}

#[tokio::test]
async fn a_tree_that_ignores_term_is_killed_with_its_sessions() {
    let table = patient(Duration::from_millis(300));
    let bystander = table.start(spec(&["sleep", "1000"])).unwrap();
    let script = "trap '' TERM; (trap '' TERM; setsid sh -c 'echo far=$$; sleep 1000 & echo far_child=$!; wait' & echo; wait) & \
                  sleep 1000 & echo near=$!; while :; do wait; done";
    let process = table.start(sh(script)).unwrap();
    let mut pids = vec![process.pid()];
    for key in ["near", "far", "far_child"] {
        pids.push(number(&expect(&process, &format!("{key}=")).await, key));
    }
    process.stop(StopCause::Request);
    process.stop(StopCause::Closed);
    let exit = soon("exit", process.exited()).await;
    assert_eq!(exit.status, ExitStatus::Signal(9));
    assert_eq!(exit.cause, Cause::Stopped(StopCause::Request));
    soon("stop", process.stopped()).await;
    assert!(pids.iter().all(|pid| !alive(*pid)), "{pids:?}");
    assert!(process.stdout().ended() || soon("end", read_all_ended(&process)).await);
    assert!(alive(bystander.pid()));
    bystander.kill(StopCause::Request);
    soon("stop", bystander.stopped()).await;
}

/// A shell whose program is killed first goes on with its next command.
#[tokio::test]
async fn nobody_acts_on_the_death_of_another() {
    let table = patient(Duration::from_millis(300));
    let folder = tempfile::tempdir().unwrap();
    let script =
        format!("echo up; sleep 1000; sleep 1000 & wait; touch {}/acted.$$", folder.path().display());
    for _ in 0..5 {
        let mut shells = Vec::new();
        for _ in 0..20 {
            shells.push(table.start(sh(&script)).unwrap());
        }
        for shell in &shells {
            expect(shell, "up").await;
        }
        for shell in &shells {
            shell.kill(StopCause::Timeout);
        }
        for shell in &shells {
            let exit = soon("exit", shell.exited()).await;
            assert_eq!(
                (exit.status, exit.cause),
                (ExitStatus::Signal(9), Cause::Stopped(StopCause::Timeout))
            );
            soon("stop", shell.stopped()).await;
        }
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

async fn read_all_ended(process: &Process) -> bool {
    read_all(process.stdout()).await;
    true
}

#[tokio::test]
async fn the_grace_ends_when_nobody_is_left_or_kill_is_asked() {
    let table = patient(Duration::from_secs(3600));
    let process = table.start(sh("sleep 1000 & sleep 1000 & wait")).unwrap();
    process.stop(StopCause::Request);
    soon("an early end", process.stopped()).await;
    let stubborn = table.start(sh("trap '' TERM; echo up; while :; do sleep 0.05; done")).unwrap();
    expect(&stubborn, "up").await;
    stubborn.stop(StopCause::Timeout);
    stubborn.kill(StopCause::Request);
    let exit = soon("exit", stubborn.exited()).await;
    assert_eq!(exit.status, ExitStatus::Signal(9));
    assert_eq!(exit.cause, Cause::Stopped(StopCause::Timeout));
}

#[tokio::test]
async fn a_shell_with_background_jobs_leaves_none() {
    let table = patient(Duration::from_secs(2));
    let spec = on_terminal(spec(&["bash", "--norc", "--noprofile", "-i"]));
    let process = table.start(spec).unwrap();
    let line = "sleep 1000 & (trap '' HUP; echo deaf''=$BASHPID; while :; do sleep 0.05; done) & nohup sleep 1000 >/dev/null & echo job''=$!\r";
    process.stdin().push(line.into()).unwrap();
    let deaf = number(&expect(&process, "deaf=").await, "deaf");
    let job = number(&expect(&process, "job=").await, "job");
    assert!(alive(deaf) && alive(job));
    process.stop(StopCause::Closed);
    soon("stop", process.stopped()).await;
    assert!(!alive(deaf) && !alive(job) && !alive(process.pid()));
    assert!(process.try_exit().is_some());
}

#[tokio::test]
async fn a_natural_exit_spares_background_jobs_and_a_later_stop_does_not() {
    let table = patient(Duration::from_millis(300));
    let process = table.start(sh("trap '' TERM; sleep 1000 & echo job=$!")).unwrap();
    let job = number(&expect(&process, "job=").await, "job");
    let exit = soon("exit", process.exited()).await;
    assert_eq!((exit.status, exit.cause), (ExitStatus::Code(0), Cause::Exited));
    assert!(alive(job));
    process.stop(StopCause::Request);
    soon("stop", process.stopped()).await;
    assert!(!alive(job));
    assert_eq!(process.try_exit().unwrap().cause, Cause::Exited);
    let mut reader = process.stdout().reader(process.stdout().end_offset(), Hold::Not);
    assert_eq!(soon("settled", reader.next(1)).await, Item::Settled);
    assert_eq!(soon("end", reader.next(1)).await, Item::End);
}

#[tokio::test]
async fn a_suspended_program_can_still_be_stopped() {
    let table = patient(Duration::from_secs(3600));
    let process = table.start(sh("trap 'exit 9' TERM; echo up; while :; do sleep 0.01; done")).unwrap();
    expect(&process, "up").await;
    process.signal(Signal::SIGSTOP).unwrap();
    process.stop(StopCause::Request);
    assert_eq!(soon("exit", process.exited()).await.status, ExitStatus::Code(9));
}

#[tokio::test]
async fn stop_all_leaves_nobody() {
    let table = patient(Duration::from_secs(5));
    let processes: Vec<_> = (0..30)
        .map(|index| {
            let spec = spec(&["sh", "-c", "sleep 1000 & sleep 1000"]);
            table.start(if index % 2 == 0 { spec } else { on_terminal(spec) }).unwrap()
        })
        .collect();
    soon("all stopped", table.stop_all()).await;
    for process in processes {
        assert_eq!(process.try_exit().unwrap().cause, Cause::Stopped(StopCause::Shutdown));
    }
    assert_eq!(table.live(), 0);
}

#[tokio::test]
async fn what_a_killed_agent_left_is_ended_and_nothing_else() {
    let (_keep, dir) = folder();
    let runtimes = Runtimes::current();
    let recorded = table_with(TableConfig { state_dir: Some(dir.clone()), ..TableConfig::default() });
    let other = table();
    let bystander = other.start(spec(&["sleep", "1000"])).unwrap();
    let plain = recorded.start(sh("sleep 1000 & echo job=$!; wait")).unwrap();
    let job = number(&expect(&plain, "job=").await, "job");
    let shell = recorded.start(on_terminal(spec(&["sleep", "1000"]))).unwrap();
    let ended = recorded.start(spec(&["true"])).unwrap();
    soon("exit", ended.exited()).await;
    // A record whose pid is somebody else's by now.
    let record = dir.join("processes");
    let mut text = std::fs::read_to_string(&record).unwrap();
    text.push_str(&format!(
        "start {} 1 group 76\nstart {} 1 session 77\nstart 12 1 group 78",
        bystander.pid(),
        std::process::id()
    ));
    std::fs::write(&record, text).unwrap();

    let leftovers = record::end_leftovers(&runtimes, &dir, Duration::from_secs(5));
    let leftovers = soon("leftovers", leftovers).await.unwrap();
    assert_eq!(leftovers.ended, 2);
    let lost = [&plain, &shell].map(|program| record::Lost { id: program.id(), pid: program.pid() });
    assert_eq!(leftovers.lost[..2], lost);
    assert_eq!(leftovers.lost.len(), 4);
    soon("exit", plain.exited()).await;
    soon("exit", shell.exited()).await;
    assert!(!alive(job) && alive(bystander.pid()));
    let again = soon("nothing", record::end_leftovers(&runtimes, &dir, Duration::ZERO)).await.unwrap();
    assert_eq!((again.ended, again.lost.len()), (0, 0));
    // No name is used twice, not even that of the foreign line.
    let next = table_with(TableConfig { state_dir: Some(dir.clone()), ..TableConfig::default() });
    let program = next.start(spec(&["true"])).unwrap();
    assert_eq!(program.id().0, 78);
    soon("exit", program.exited()).await;
    bystander.kill(StopCause::Request);
    soon("stop", bystander.stopped()).await;
}

#[tokio::test]
async fn the_record_of_another_boot_is_void_and_stays_small() {
    let (_keep, dir) = folder();
    let runtimes = Runtimes::current();
    let other = table();
    let bystander = other.start(spec(&["sleep", "1000"])).unwrap();
    let leader = bystander.inner.leader;
    let text = format!("pid1 processes 2 another-boot\nstart {} {} group 3\n", leader.pid, leader.start);
    std::fs::write(dir.join("processes"), text).unwrap();
    let leftovers = soon("leftovers", record::end_leftovers(&runtimes, &dir, Duration::ZERO)).await.unwrap();
    assert_eq!(leftovers.ended, 0);
    assert_eq!(leftovers.lost, [record::Lost { id: ProcessId(3), pid: leader.pid }]);
    assert!(alive(bystander.pid()));
    bystander.kill(StopCause::Request);
    soon("stop", bystander.stopped()).await;

    let record = record::Record::open(&dir).unwrap();
    for _ in 0..5 * crate::limits::RECORD_LINES {
        record.started(ProcessId(4), leader, super::super::proc_fs::Kinship::Group);
        record.ended(leader);
    }
    let size = std::fs::metadata(dir.join("processes")).unwrap().len();
    assert!(size < 256 << 10, "{size}");
}
