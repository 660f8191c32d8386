//! Exit codes, signals and causes, one by one and in bursts.

use super::super::{Cause, ExitStatus, Signal, SignalError, StopCause};
use super::*;

#[tokio::test]
async fn codes_signals_and_causes() {
    let table = table();
    let exit = soon("exit", table.start(sh("exit 3")).unwrap().exited()).await;
    assert_eq!((exit.status, exit.cause), (ExitStatus::Code(3), Cause::Exited));
    assert_eq!((exit.text().as_str(), exit.shell_code()), ("exit status 3", 3));

    let exit = soon("exit", table.start(sh("kill -9 $$")).unwrap().exited()).await;
    assert_eq!((exit.status, exit.cause), (ExitStatus::Signal(9), Cause::Signalled));
    assert_eq!((exit.text().as_str(), exit.shell_code()), ("signal: killed", 137));

    let process = table.start(spec(&["sleep", "1000"])).unwrap();
    process.signal(Signal::SIGUSR1).unwrap();
    let exit = soon("exit", process.exited()).await;
    assert_eq!((exit.status, exit.cause), (ExitStatus::Signal(10), Cause::Signalled));
    assert!(matches!(process.signal(Signal::SIGTERM), Err(SignalError::Exited { .. })));

    let process = table.start(sh("trap 'exit 7' TERM; echo up; while :; do sleep 0.01; done")).unwrap();
    expect(&process, "up").await;
    process.stop(StopCause::Timeout);
    process.stop(StopCause::Request);
    let exit = soon("exit", process.exited()).await;
    assert_eq!(exit.status, ExitStatus::Code(7));
    assert_eq!(exit.cause, Cause::Stopped(StopCause::Timeout));
}

#[tokio::test]
async fn an_exit_before_stop_keeps_its_cause() {
    let table = table();
    let process = table.start(spec(&["true"])).unwrap();
    until("death", || !alive(process.pid())).await;
    process.stop(StopCause::Request);
    let exit = soon("exit", process.exited()).await;
    assert_eq!((exit.status, exit.cause), (ExitStatus::Code(0), Cause::Exited));
    soon("stopped", process.stopped()).await;
}

#[tokio::test]
async fn two_thousand_programs_in_bursts() {
    let table = table();
    let mut wrong = 0;
    for burst in 0..20 {
        let started: Vec<_> = (0..100)
            .map(|index| {
                let code = (burst * 100 + index) % 256;
                let script = format!("exit {code}");
                (code, table.start(spec(&["sh", "-c", &script])).unwrap())
            })
            .collect();
        for (code, process) in started {
            let exit = soon("exit", process.exited()).await;
            wrong += usize::from(exit.status != ExitStatus::Code(code) || exit.cause != Cause::Exited);
        }
    }
    assert_eq!(wrong, 0);
    assert_eq!(table.live(), 0);
    assert!(table.list().len() <= crate::limits::EXITED_KEPT + 1);
}

#[tokio::test]
async fn lists_and_keeps_what_is_held() {
    let config = TableConfig { exited_kept: 2, ..TableConfig::default() };
    let table = table_with(config);
    let held = table.start(sh("echo hello; exit 1")).unwrap();
    soon("exit", held.exited()).await;
    for _ in 0..10 {
        let process = table.start(spec(&["true"])).unwrap();
        soon("exit", process.exited()).await;
        soon("end", read_all(process.stdout())).await;
    }
    assert_eq!(table.by_id(held.id()).unwrap().try_exit(), held.try_exit());
    assert_eq!(table.by_pid(held.pid()).unwrap().id(), held.id());
    until("the others' end", || table.list().len() == 3).await;
    assert_eq!(text_of(&held).await, "hello\n");
    assert!(!table.reap(held.pid()));
    assert!(!table.reap(1));
}

#[tokio::test]
async fn names_of_programs_that_nobody_holds_are_cleared_out() {
    let table = table();
    let mut held = Vec::new();
    let mut most = 0;
    for round in 0..400 {
        let process = table.start(replayed(spec(&["true"]))).unwrap();
        soon("exit", process.exited()).await;
        soon("end", process.stdout().at_end()).await;
        if round % 10 == 0 {
            held.push(process);
        }
        most = most.max(super::super::lock(&table.shared.state).listed.names());
    }
    assert!(most <= 2 * held.len() + 20, "{most}");
    for process in &held {
        assert_eq!(table.by_id(process.id()).unwrap().pid(), process.pid());
    }
}
