//! Input: whole, in order, with back pressure, and its end.

use std::io::Read;
use std::pin::pin;
use std::sync::Arc;

use super::super::stdin::Stdin;
use super::super::{StdinError, StopCause};
use super::*;
use bytes::Bytes;
use rustix::pipe::{PipeFlags, pipe_with};
use tokio::time::{Instant, timeout};

use crate::limits::{
    STDIN_ALWAYS_BYTES, STDIN_BUFFER_BYTES, STDIN_HOLD_BYTES, STDIN_PATIENCE, STDIN_TOTAL_BYTES,
};

#[tokio::test]
async fn forty_megabytes_through_cat() {
    const TOTAL: usize = 40 << 20;
    let table = table();
    let process = table.start(spec(&["cat"])).unwrap();
    let all: Bytes = (0..TOTAL).map(|at| (at * 7 % 253) as u8).collect();
    let input = all.clone();
    let writer = process.clone();
    let write = tokio::spawn(async move {
        let mut at = 0;
        while at < TOTAL {
            let piece = input.slice(at..TOTAL.min(at + 100_000));
            let length = piece.len();
            match writer.stdin().push(piece) {
                Ok(()) => at += length,
                Err(StdinError::Full) => writer.stdin().room().await,
                Err(error) => panic!("{error}"),
            }
        }
        assert_eq!(writer.stdin().accepted(), TOTAL as u64);
        writer.stdin().close();
    });
    assert!(read_all(process.stdout()).await == all, "the bytes differ");
    write.await.unwrap();
}

#[tokio::test]
async fn a_program_that_does_not_read_fills_the_buffer() {
    let table = table();
    let process = table.start(spec(&["sleep", "1000"])).unwrap();
    let piece = Bytes::from(vec![b'x'; 64 << 10]);
    let mut taken = 0u64;
    let full = loop {
        match process.stdin().push(piece.clone()) {
            Ok(()) => taken += piece.len() as u64,
            Err(error) => break error,
        }
        assert!(taken <= 2 << 20);
    };
    assert_eq!(full, StdinError::Full);
    assert_eq!(process.stdin().accepted(), taken);
    assert!(!process.stdin().has_room());
    let room = process.stdin().room();
    process.kill(StopCause::Request);
    soon("room", room).await;
    soon("stop", process.stopped()).await;
    assert_eq!(process.stdin().push(piece), Err(StdinError::Closed));
}

#[tokio::test]
async fn one_large_message_is_taken_alone() {
    let table = table();
    // It reads when it may: else it could have taken all before the second is there.
    let folder = tempfile::tempdir().unwrap();
    let may = folder.path().join("may");
    let script = "until [ -e \"$0\" ]; do sleep 0.01; done; exec wc -c";
    let process = table.start(spec(&["sh", "-c", script, may.to_str().unwrap()])).unwrap();
    process.stdin().push(Bytes::from(vec![0; 8 << 20])).unwrap();
    assert_eq!(process.stdin().push("x".into()), Err(StdinError::Full));
    std::fs::write(may, "").unwrap();
    process.stdin().close();
    assert_eq!(process.stdin().push("x".into()), Err(StdinError::Closed));
    assert_eq!(text_of(&process).await.trim(), "8388608");
}

#[tokio::test(start_paused = true)]
async fn who_takes_nothing_for_long_is_stuck_and_who_takes_a_little_is_not() {
    let (ours, theirs) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).unwrap();
    let (mut program, runtimes) = (std::fs::File::from(ours), Runtimes::current());
    let stdin = Stdin::new(Arc::new(theirs), None, runtimes, Arc::default());
    let mut line = [0; 100];
    // Whoever waits for nothing else is taken whole.
    stdin.type_in(Bytes::from(vec![b'x'; STDIN_HOLD_BYTES])).unwrap();
    stdin.type_in(Bytes::from(vec![b'x'; STDIN_BUFFER_BYTES])).unwrap();
    for _ in 0..2 {
        let mut wait = pin!(stdin.room_or_stuck());
        for _ in 0..5 {
            // Much less than the kernel waits for before it takes more.
            program.read_exact(&mut line).unwrap();
            assert!(timeout(STDIN_PATIENCE * 3 / 4, &mut wait).await.is_err(), "it reads");
        }
        let since = Instant::now();
        wait.await;
        assert!(since.elapsed() < 2 * STDIN_PATIENCE, "{:?}", since.elapsed());
        assert_eq!(stdin.type_in("x".into()), Err(StdinError::Full));
        timeout(STDIN_PATIENCE / 100, stdin.room_or_stuck()).await.expect("nobody waits again");
    }
    // It reads again, until there is as much room as ever.
    let mut rest = vec![0; STDIN_BUFFER_BYTES];
    while stdin.type_in("y".into()) == Err(StdinError::Full) {
        assert!(program.read(&mut rest).unwrap() > 0);
    }
    assert!(stdin.queued_bytes() > STDIN_HOLD_BYTES);
    let room = stdin.room_or_stuck();
    let read = async {
        while !stdin.has_room() {
            let _ = program.read(&mut rest);
            tokio::task::yield_now().await;
        }
    };
    tokio::join!(room, read);
    assert_eq!(stdin.accepted(), (STDIN_HOLD_BYTES + STDIN_BUFFER_BYTES + 1) as u64);
}

#[tokio::test]
async fn what_others_leave_unread_leaves_room_for_a_little() {
    let table = table();
    let large = Bytes::from(vec![0; STDIN_TOTAL_BYTES]);
    let deaf = table.start(spec(&["sleep", "1000"])).unwrap();
    deaf.stdin().push(large).unwrap();
    let process = table.start(spec(&["wc", "-c"])).unwrap();
    let mut sent = 0;
    for bytes in [STDIN_ALWAYS_BYTES, 10, STDIN_ALWAYS_BYTES] {
        process.stdin().push(Bytes::from(vec![0; bytes])).unwrap();
        sent += bytes;
        soon("it is read", process.stdin().room()).await;
    }
    let more = Bytes::from(vec![0; STDIN_ALWAYS_BYTES + 1]);
    assert_eq!(process.stdin().push(more.clone()), Err(StdinError::Crowded));
    deaf.kill(StopCause::Request);
    soon("stop", deaf.stopped()).await;
    process.stdin().push(more.clone()).unwrap();
    process.stdin().close();
    assert_eq!(text_of(&process).await.trim(), (sent + more.len()).to_string());
}

#[tokio::test]
async fn a_closed_reader_closes_the_input() {
    let table = table();
    let process = table.start(sh("exec <&-; echo closed; sleep 1000")).unwrap();
    expect(&process, "closed").await;
    // A program that is just being started elsewhere has all our descriptors for a moment.
    until("the closed pipe", || process.stdin().push("x".into()) == Err(StdinError::Closed)).await;
    process.kill(StopCause::Request);
    soon("stop", process.stopped()).await;
    let done = table.start(spec(&["true"])).unwrap();
    soon("exit", done.exited()).await;
    until("the closed pipe", || done.stdin().push("x".into()) == Err(StdinError::Closed)).await;
}

#[tokio::test]
async fn a_large_paste_into_a_raw_terminal_arrives() {
    const TOTAL: usize = 2 << 20;
    let table = table();
    let script = format!("stty raw -echo; echo ready; head -c {TOTAL} | cksum");
    let process = table.start(on_terminal(sh(&script))).unwrap();
    expect(&process, "ready").await;
    let all = Bytes::from(vec![b'p'; TOTAL]);
    process.stdin().push(all).unwrap();
    let text = text_of(&process).await;
    assert!(text.contains(&format!(" {TOTAL}")), "{text:?}");
}

#[tokio::test]
async fn closing_a_terminals_input_ends_a_reader_within_a_line() {
    let table = table();
    for line in ["whole\n", "part"] {
        let process = table.start(on_terminal(spec(&["cat"]))).unwrap();
        process.stdin().push(line.into()).unwrap();
        process.stdin().close();
        let exit = soon("exit", process.exited()).await;
        assert!(exit.success(), "{exit:?} {:?}", text_of(&process).await);
    }
}
