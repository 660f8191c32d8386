//! Each byte once, whoever sends it however often, whatever the program does.

use std::time::Duration;

use futures_util::FutureExt;
use nix::sys::signal::Signal;
use pid1_sdk::process::{Exit, Io, ProcessTable, Spec, StopCause, TableConfig};
use pid1_sdk::runtimes::Runtimes;
use tokio::time::timeout;

use super::*;

const MIB: usize = 1 << 20;
const SOON: Duration = Duration::from_secs(20);

fn cat() -> (Process, Input) {
    let table = ProcessTable::new(Runtimes::current(), TableConfig::default());
    let spec = Spec { io: Io::Pipes { split_stderr: false }, ..Spec::new(["/bin/cat"]) };
    let process = table.start(spec).expect("cat is there");
    let input = Input::of(&process, Person(0, String::new()), Arc::default());
    (process, input)
}

async fn end(process: &Process) -> Exit {
    timeout(SOON, process.exited()).await.expect("it ends")
}

/// All that it printed, as long as that is not much.
async fn printed(process: &Process) -> String {
    end(process).await;
    timeout(SOON, process.stdout().at_end()).await.expect("its output ends");
    let (from, bytes) = process.stdout().tail(u64::MAX, usize::MAX, usize::MAX);
    assert_eq!(from, 0);
    String::from_utf8(bytes.to_vec()).expect("text")
}

/// One that reads nothing until it is told to go on, and whose queue is full.
async fn stuck() -> (Process, Input) {
    let (process, input) = cat();
    process.signal(Signal::SIGSTOP).expect("it runs");
    input.write(0, &vec![b'x'; 2 * MIB].into(), false).await.expect("a first one is taken whole");
    (process, input)
}

#[tokio::test]
async fn each_byte_is_taken_once() {
    let (process, input) = cat();
    for (offset, data, eof) in
        [(0, "abc", false), (0, "abc", false), (1, "bcde", false), (5, "", false), (5, "fg", true)]
    {
        input.write(offset, &data.into(), eof).await.expect(data);
    }
    // What came before, and the end, may come again; and the end alone comes from anywhere.
    for (offset, data, eof) in [(0, "abcdefg", true), (5, "fg", false), (0, "", true), (99, "", true)] {
        input.write(offset, &data.into(), eof).await.expect(data);
    }
    let hole = input.write(9, &"x".into(), false).await.expect_err("a hole");
    assert!(matches!(hole, InputError::Hole { offset: 9, taken: 7 }), "{hole}");
    let closed = input.write(5, &"fgh".into(), false).await.expect_err("it is closed");
    assert!(matches!(closed, InputError::Closed { taken: 7 }), "{closed}");
    assert_eq!(input.status(), (7, true));
    assert_eq!(printed(&process).await, "abcdefg");
}

#[tokio::test]
async fn who_waits_for_the_program_may_go_and_come_again() {
    let (process, input) = stuck().await;
    let offset = 2 * MIB as u64;
    let (data, more) = (Bytes::from(vec![b'y'; 80 * MIB]), Bytes::from_static(b"z"));
    assert!(input.write(offset, &data, false).now_or_never().is_none());
    // Twice at once, as from a connection that is dead and one that is not; then there is no room to wait in.
    let mut first = Box::pin(input.write(offset, &data, false));
    assert!(first.as_mut().now_or_never().is_none());
    let crowded = input.write(offset, &data, false).await.expect_err("it is full");
    assert!(matches!(crowded, InputError::Crowded { taken } if taken == offset), "{crowded}");
    process.signal(Signal::SIGCONT).expect("it runs");
    let (one, other) = timeout(SOON, async {
        tokio::join!(first, async {
            // Also in vain at first, while the other waits.
            while input.write(offset, &data, false).await.is_err() {
                tokio::task::yield_now().await;
            }
            input.write(offset + data.len() as u64, &more, true).await
        })
    })
    .await
    .expect("both are taken");
    one.and(other).expect("both are taken");
    end(&process).await;
    timeout(SOON, process.stdout().at_end()).await.expect("its output ends");
    assert_eq!(process.stdout().end_offset(), offset + data.len() as u64 + 1);
}

#[tokio::test]
async fn what_others_leave_unread_makes_it_slow_but_holds_nobody_up() {
    let table = ProcessTable::new(Runtimes::current(), TableConfig::default());
    let start = |words: &[&str]| table.start(Spec::new(words)).expect("it is there");
    let deaf = start(&["/bin/sleep", "1000"]);
    deaf.stdin().push(vec![0; 255 * MIB].into()).expect("there is room");
    let process = start(&["/usr/bin/wc", "-c"]);
    let input = Input::of(&process, Person(0, String::new()), Arc::default());
    let data = Bytes::from(vec![b'x'; 5 * MIB]);
    timeout(SOON, input.write(0, &data, true)).await.expect("soon").expect("it is taken");
    assert_eq!(printed(&process).await.trim(), data.len().to_string());
    deaf.kill(StopCause::Request);
    end(&deaf).await;
}

#[tokio::test]
async fn one_stream_has_the_input() {
    let (process, input) = cat();
    let mut stream = input.stream(0).expect("the first");
    stream.write(&"one ".into()).await.expect("taken");
    let elsewhere = input.stream(0).err().expect("it begins too early");
    assert!(matches!(elsewhere, InputError::Elsewhere { offset: 0, taken: 4 }), "{elsewhere}");
    let hole = input.stream(5).err().expect("it begins too late");
    assert!(matches!(hole, InputError::Hole { offset: 5, taken: 4 }), "{hole}");
    // Which ended nothing.
    stream.write(&"two ".into()).await.expect("taken");
    assert_eq!(input.status(), (8, false));
    let over = stream.write(&"never ".into()).await.expect_err("the question has ended it");
    assert!(matches!(over, InputError::TakenOver { taken: 8 }), "{over}");
    let over = stream.end().expect_err("the question has ended it");
    assert!(matches!(over, InputError::TakenOver { taken: 8 }), "{over}");
    let old = input.stream(8).expect("the second");
    let mut stream = input.stream(8).expect("the third");
    assert!(old.end().is_err(), "the third has ended it");
    stream.write(&"three".into()).await.expect("taken");
    stream.end().expect("it is the last");
    assert_eq!(printed(&process).await, "one two three");
}

#[tokio::test]
async fn a_stream_that_waits_is_ended_too() {
    let (process, input) = stuck().await;
    let mut stream = input.stream(2 * MIB as u64).expect("the first");
    let data = Bytes::from_static(b"never");
    let mut waiting = Box::pin(stream.write(&data));
    assert!(waiting.as_mut().now_or_never().is_none());
    assert_eq!(input.status(), (2 * MIB as u64, false));
    let over = timeout(SOON, waiting).await.expect("at once").expect_err("it has ended");
    assert!(matches!(over, InputError::TakenOver { .. }), "{over}");
    process.kill(StopCause::Request);
    end(&process).await;
    let closed = timeout(SOON, async {
        // Once nobody has the pipe any more.
        loop {
            match input.write(2 * MIB as u64, &data, false).now_or_never() {
                Some(Err(closed @ InputError::Closed { .. })) => return closed,
                _ => tokio::task::yield_now().await,
            }
        }
    });
    assert!(closed.await.is_ok());
}
