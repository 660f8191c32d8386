//! Runs in a process of its own, because other tests open descriptors meanwhile.

use super::super::{Discard, StopCause};
use super::*;

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

const ALONE: &str = "PID1_TEST_ALONE";

#[tokio::test]
async fn nothing_is_left_open_and_no_task_runs_on() {
    if std::env::var_os(ALONE).is_none() {
        // Once more, alone, through the engine itself.
        let table = table();
        let this = std::env::current_exe().unwrap();
        let mut again = spec(&[this.to_str().unwrap(), "nothing_is_left_open"]);
        again.env.push((ALONE.into(), "1".into()));
        let process = table.start(again).unwrap();
        let text = text_of(&process).await;
        assert!(process.try_exit().unwrap().success(), "{text}");
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
