//! Output that nobody wants: the program has /dev/null, its log is empty.

use super::super::{Discard, ExitStatus, StopCause, Stream};
use super::*;

const STDOUT: Discard = Discard { stdout: true, stderr: false };
const STDERR: Discard = Discard { stdout: false, stderr: true };
const BOTH: Discard = Discard { stdout: true, stderr: true };

fn discarding(discard: Discard, split_stderr: bool, script: &str) -> Spec {
    Spec { io: Io::Pipes { split_stderr }, discard, ..sh(script) }
}

#[tokio::test]
async fn each_stream_goes_where_it_was_asked_for() {
    let cases = [
        (Discard::default(), false, "out\nerr\n", None),
        (STDOUT, false, "", None),
        (STDERR, false, "out\n", None),
        (BOTH, false, "", None),
        (Discard::default(), true, "out\n", Some("err\n")),
        (STDOUT, true, "", Some("err\n")),
        (STDERR, true, "out\n", Some("")),
        (BOTH, true, "", Some("")),
    ];
    let table = table();
    for (discard, split, out, err) in cases {
        let process = table.start(discarding(discard, split, "echo out; echo err >&2; exit 3")).unwrap();
        assert_eq!(text_of(&process).await, out, "{discard:?} {split}");
        match (process.output(Stream::Stderr), err) {
            (Some(log), Some(err)) => assert_eq!(read_all(log).await, err.as_bytes(), "{discard:?}"),
            (None, None) => {}
            (log, _) => panic!("{log:?} for {discard:?} {split}"),
        }
        assert_eq!(soon("exit", process.exited()).await.status, ExitStatus::Code(3));
    }
}

#[tokio::test]
async fn a_discarded_stream_is_the_null_device_and_its_log_is_at_its_end() {
    let table = table();
    let script = "[ /proc/self/fd/1 -ef /dev/null ] && [ /proc/self/fd/2 -ef /dev/null ] || exit 1
        head -c 1000000 /dev/zero || exit 2
        read line; exit 7";
    let process = table.start(discarding(STDOUT, false, script)).unwrap();
    let log = process.stdout();
    assert!(log.ended());
    let mut reader = log.reader(0, Hold::Back);
    assert_eq!(reader.try_next(9), None, "the program has not exited");
    process.stdin().push("\n".into()).unwrap();
    assert_eq!(soon("settled", reader.next(9)).await, Item::Settled);
    assert_eq!(soon("end", reader.next(9)).await, Item::End);
    assert_eq!(process.try_exit().map(|exit| exit.status), Some(ExitStatus::Code(7)));
    assert_eq!((log.start_offset(), log.end_offset()), (0, 0));
}

#[tokio::test]
async fn a_program_without_output_is_stopped_like_any_other() {
    let table = table();
    let process = table.start(discarding(BOTH, true, "sleep 1000 & sleep 1000")).unwrap();
    process.stdout().hang_up();
    assert!(process.left_anything().await);
    process.kill(StopCause::Request);
    soon("stop", process.stopped()).await;
    assert_eq!(soon("exit", process.exited()).await.status, ExitStatus::Signal(9));
}

#[tokio::test]
async fn on_a_terminal_nothing_is_discarded() {
    let table = table();
    let process = table.start(Spec { discard: BOTH, ..on_terminal(sh("echo out")) }).unwrap();
    assert_eq!(text_of(&process).await, "out\r\n");
}
