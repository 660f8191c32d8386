//! Runs in a process of its own, because other tests open descriptors meanwhile.

use super::super::{Discard, StopCause};
use super::*;

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

const ALONE: &str = "PID1_TEST_ALONE";

/// Whether this is a process of its own; if not, the test of this name has just run in one.
async fn alone(name: &str) -> bool {
    if std::env::var_os(ALONE).is_some() {
        return true;
    }
    // Once more, alone, through the engine itself.
    let table = table();
    let this = std::env::current_exe().unwrap();
    let mut again = spec(&[this.to_str().unwrap(), name]);
    again.env.push((ALONE.into(), "1".into()));
    let process = table.start(again).unwrap();
    let text = text_of(&process).await;
    assert!(text.contains("1 passed"), "{text}");
    assert!(process.try_exit().unwrap().success(), "{text}");
    false
}

#[tokio::test]
async fn nothing_is_left_open_and_no_task_runs_on() {
    if !alone("nothing_is_left_open").await {
        return;
    }
    let runtimes = Runtimes::current();
    let before = descriptors();
    {
        let (_keep, dir) = folder();
        let config = TableConfig { state_dir: Some(dir), ..TableConfig::default() };
        let table = ProcessTable::new(runtimes.clone(), config);
        for round in 0..30 {
            let plain = replayed(sh("yes | head -c 6000000; exit 1"));
            let process = table.start(plain).unwrap();
            let shell = table.start(on_terminal(spec(&["sleep", "1000"]))).unwrap();
            let split = Spec { io: Io::Pipes { split_stderr: true }, ..spec(&["cat"]) };
            let cat = table.start(split).unwrap();
            cat.stdin().push(vec![0; 3 << 20].into()).unwrap();
            assert!(table.start(spec(&["nothing-here"])).is_err());
            let both = Discard { stdout: true, stderr: true };
            let silent = table.start(Spec { discard: both, ..spec(&["true"]) }).unwrap();
            soon("exit", silent.exited()).await;
            assert!(silent.stdin().closed(), "an exited program costs no descriptor");
            if round % 2 == 0 {
                let mut reader = process.stdout().reader(0, Hold::Back);
                reader.next(10).await;
                shell.stop(StopCause::Request);
                cat.kill(StopCause::Request);
            }
        }
        soon("all stopped", table.stop_all()).await;
    }
    runtimes.tracker().close();
    soon("the end of all tasks", runtimes.tracker().wait()).await;
    assert!(runtimes.tracker().is_empty());
    assert_eq!(descriptors(), before);
}

fn resident_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}

/// Measured as 1.5 KiB: a contract keeps thousands of them.
#[tokio::test]
async fn an_exited_program_that_is_held_costs_little() {
    const EACH: usize = 500;
    if !alone("an_exited_program_that_is_held").await {
        return;
    }
    let (_keep, dir) = folder();
    let table = table_with(TableConfig { state_dir: Some(dir), ..TableConfig::default() });
    let mut held = Vec::with_capacity(2 * EACH);
    let mut before = (0, 0);
    for count in 1..=2 * EACH {
        let split = Spec { io: Io::Pipes { split_stderr: true }, ..sh("echo hello; echo world >&2") };
        let process = table.start(replayed(split)).unwrap();
        soon("exit", process.exited()).await;
        for log in process.inner.logs() {
            soon("end", log.at_end()).await;
            log.shelve().await;
        }
        held.push(process);
        // The first half has made the agent as large as it is when it works.
        if count == EACH {
            before = (resident_bytes(), descriptors());
        }
    }
    let grown = resident_bytes().saturating_sub(before.0);
    assert!(grown < EACH * (6 << 10), "{grown} bytes for {EACH} programs");
    assert!(descriptors() <= before.1 + 10, "{} descriptors", descriptors());
}
