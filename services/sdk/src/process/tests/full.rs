//! Readers in front of whom a log fills its file before the program has to wait, and who lose nothing.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::pipe::{PipeFlags, pipe_with};
use tokio::sync::Semaphore;

use super::super::log::{Bounds, Turn};
use super::super::pump::Pump;
use super::super::{LogReader, Stdin, lock};
use super::replay::pattern;
use super::*;
use crate::limits::{LAGGARD_BYTES, LAGGARD_PATIENCE};

const BOUNDS: Bounds = Bounds { memory: 64 << 10, file: 256 << 10, batch: 16 << 10 };

/// One read of the pump.
const PIECE: usize = 10_000;

fn log_in(dir: &std::path::Path, bounds: Bounds) -> OutputLog {
    OutputLog::new(bounds, Some(Arc::from(dir)), Runtimes::current())
}

/// A program without end, until it has to wait, in front of readers who take nothing; at most `to`.
async fn flood(log: &OutputLog, to: u64) {
    while log.end_offset() < to {
        match log.turn() {
            Turn::Wait => return,
            Turn::Linger(patience) => log.lingered(patience),
            Turn::Read { .. } => {
                if log.append(&mut pattern(log.end_offset(), PIECE)) {
                    log.spill().await;
                }
            }
            Turn::HangUp => panic!("nobody hangs up"),
        }
        assert!(in_memory(log) <= BOUNDS.memory + BOUNDS.batch as u64 + PIECE as u64);
    }
}

fn in_memory(log: &OutputLog) -> u64 {
    lock(&log.shared.state).memory.len()
}

/// Reads exactly `length` bytes, which must be the right ones.
async fn take(reader: &mut LogReader, length: u64) {
    let to = reader.offset() + length;
    while reader.offset() < to {
        let at = reader.offset();
        let most = usize::try_from(to - at).unwrap().min(7_777);
        match soon("kept bytes", reader.next(most)).await {
            Item::Chunk { offset, bytes } => {
                assert_eq!(offset, at);
                assert_eq!(bytes, pattern(at, bytes.len()));
            }
            other => panic!("{other:?} at {at}"),
        }
    }
}

#[tokio::test]
async fn the_program_waits_when_memory_and_file_are_full_and_no_byte_is_lost() {
    let (_keep, dir) = folder();
    for step in [1, 1_000, 7_777, 50_000, 300_000] {
        let log = log_in(&dir, BOUNDS);
        let mut reader = log.reader(0, Hold::WhenFull);
        flood(&log, u64::MAX).await;
        let full = BOUNDS.memory + BOUNDS.file;
        for _ in 0..10 {
            assert_eq!(log.turn(), Turn::Wait);
            let lag = log.end_offset() - reader.offset();
            assert!((full..full + PIECE as u64).contains(&lag), "{lag}");
            assert!(log.start_offset() <= reader.offset());
            take(&mut reader, step).await;
            take(&mut reader, lag.saturating_sub(full + step)).await;
            assert_eq!(log.turn() == Turn::Wait, log.end_offset() - reader.offset() >= full);
            flood(&log, u64::MAX).await;
        }
        let rest = log.end_offset() - reader.offset();
        take(&mut reader, rest).await;
        assert!(matches!(log.turn(), Turn::Read { .. }));
    }
}

#[tokio::test]
async fn without_a_file_it_waits_at_the_window() {
    let log = OutputLog::new(BOUNDS, None, Runtimes::current());
    let mut reader = log.reader(0, Hold::WhenFull);
    flood(&log, u64::MAX).await;
    assert!((BOUNDS.memory..BOUNDS.memory + PIECE as u64).contains(&log.end_offset()));
    let rest = log.end_offset();
    take(&mut reader, rest).await;
    assert!(matches!(log.turn(), Turn::Read { .. }));
}

#[tokio::test]
async fn what_is_in_a_file_that_fails_stays_for_its_reader() {
    let (_keep, dir) = folder();
    let log = log_in(&dir, BOUNDS);
    let mut reader = log.reader(0, Hold::WhenFull);
    flood(&log, 200_000).await;
    lock(&log.shared.state).ring.as_mut().unwrap().fail_writes();
    flood(&log, u64::MAX).await;
    assert!(log.end_offset() < 220_000, "it waits at once");
    let end = log.end_offset();
    take(&mut reader, end - BOUNDS.memory).await;
    assert_eq!(log.turn(), Turn::Wait);
    assert!(lock(&log.shared.state).ring.is_none(), "nobody needs it any more");
    take(&mut reader, 1).await;
    assert!(matches!(log.turn(), Turn::Read { .. }));
    flood(&log, u64::MAX).await;
    let rest = log.end_offset() - reader.offset();
    take(&mut reader, rest).await;
    // One that leaves does not keep it either.
    let log = log_in(&dir, BOUNDS);
    let reader = log.reader(0, Hold::WhenFull);
    flood(&log, 200_000).await;
    lock(&log.shared.state).ring.as_mut().unwrap().fail_writes();
    flood(&log, u64::MAX).await;
    assert_eq!(log.start_offset(), 0);
    drop(reader);
    assert!(log.start_offset() > 100_000);
}

const LIMITED: &str = "PID1_TEST_LIMITED";

/// Runs in a process of its own, with a limit on the size of files, which is as good as a full disk.
#[tokio::test]
async fn on_a_full_disk_the_file_is_smaller() {
    if std::env::var_os(LIMITED).is_none() {
        let this = std::env::current_exe().unwrap();
        let mut again =
            sh("trap '' XFSZ; ulimit -f 400; exec \"$0\" on_a_full_disk_the_file_is_smaller --nocapture");
        again.args.push(this.into());
        again.env.push((LIMITED.into(), "1".into()));
        let process = table().start(again).unwrap();
        let text = text_of(&process).await;
        assert!(text.contains("1 passed"), "{text}");
        return;
    }
    let room = rustix::process::getrlimit(rustix::process::Resource::Fsize).current.expect("it is limited");
    let (_keep, dir) = folder();
    let log = log_in(&dir, Bounds { file: 4 * room, ..BOUNDS });
    let mut reader = log.reader(0, Hold::WhenFull);
    for _ in 0..10 {
        flood(&log, u64::MAX).await;
        assert_eq!(log.turn(), Turn::Wait);
        let lag = log.end_offset() - reader.offset();
        let full = BOUNDS.memory + room;
        // When the disk turned out to be full, what did not fit was in memory already.
        assert!((full..full + (BOUNDS.batch + PIECE) as u64).contains(&lag), "{lag}");
        take(&mut reader, 70_001).await;
    }
}

#[tokio::test]
async fn a_program_ends_in_front_of_one_who_reads_nothing_and_he_gets_all_of_it() {
    let (_keep, dir) = folder();
    let table = table_with(TableConfig { state_dir: Some(dir), ..TableConfig::default() });
    let process = table.start(replayed(sh("yes 0123456789abcde | head -c 30000000"))).unwrap();
    let mut reader = process.stdout().reader(0, Hold::WhenFull);
    let mut brisk = process.stdout().reader(0, Hold::WhenFull);
    while !process.stdout().ended() {
        soon("output", brisk.next(usize::MAX)).await;
    }
    let mut at = 0;
    loop {
        match soon("output", reader.next(usize::MAX)).await {
            Item::Chunk { offset, bytes } => {
                assert_eq!(offset, at);
                let line = |at: u64| b"0123456789abcde\n"[usize::try_from(at % 16).unwrap()];
                assert!(bytes.iter().zip(at..).all(|(byte, at)| *byte == line(at)));
                at += bytes.len() as u64;
            }
            Item::Settled => {}
            Item::End => break,
            Item::Gap { from, to } => panic!("gap {from}..{to}"),
        }
    }
    assert_eq!(at, 30_000_000);
}

/// A pump from a pipe with something in it; the other end of the pipe, and of the input.
fn pump_into(log: &OutputLog) -> [OwnedFd; 2] {
    let (source, program) = pipe_with(PipeFlags::NONBLOCK).unwrap();
    let (input, stdin) = pipe_with(PipeFlags::NONBLOCK).unwrap();
    rustix::io::write(&program, b"more").unwrap();
    let runtimes = Runtimes::current();
    let stdin = Stdin::new(Arc::new(stdin), None, runtimes.clone(), Arc::default());
    Pump::new(Arc::new(source), log.clone(), None, stdin, Arc::new(Semaphore::new(0)), runtimes).launch();
    [program, input]
}

#[tokio::test(start_paused = true)]
async fn the_pump_lingers_a_while_for_one_who_takes_and_then_reads_on() {
    const MOMENT: Duration = Duration::from_millis(1);
    let (_keep, dir) = folder();
    let log = log_in(&dir, Bounds { memory: 64 << 10, file: 1 << 30, batch: 4 << 20 });
    let mut reader = log.reader(0, Hold::WhenFull);
    let _dead = log.reader(0, Hold::WhenFull);
    let begin = 1 << 20;
    assert!(!log.append(&mut pattern(0, 1 << 20)));
    let _ends = pump_into(&log);
    tokio::time::sleep(LAGGARD_PATIENCE - MOMENT).await;
    take(&mut reader, LAGGARD_BYTES).await;
    tokio::time::sleep(2 * MOMENT).await;
    assert_eq!(log.end_offset(), begin, "it took enough to be waited for again");
    tokio::time::sleep(LAGGARD_PATIENCE - 3 * MOMENT).await;
    assert_eq!(log.end_offset(), begin);
    take(&mut reader, LAGGARD_BYTES - 1).await;
    tokio::time::sleep(10 * MOMENT).await;
    assert_eq!(log.end_offset(), begin + 4, "it took too little");
    drop(reader);
    // Within the window no time passes at all, though the dead one is still there.
    let log = log_in(&dir, Bounds { memory: 64 << 10, file: 1 << 30, batch: 4 << 20 });
    let mut reader = log.reader(0, Hold::WhenFull);
    assert!(!log.append(&mut pattern(0, 1 << 20)));
    let _ends = pump_into(&log);
    let now = tokio::time::Instant::now();
    tokio::task::yield_now().await;
    assert_eq!(log.end_offset(), begin);
    take(&mut reader, begin - (64 << 10) + 1).await;
    while log.end_offset() == begin {
        tokio::task::yield_now().await;
    }
    assert_eq!(now.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_pump_that_was_stopped_by_one_lingers_for_another_and_no_longer() {
    let (_keep, dir) = folder();
    let log = log_in(&dir, Bounds { memory: 64 << 10, file: 1 << 30, batch: 4 << 20 });
    let mut back = log.reader(0, Hold::Back);
    let _dead = log.reader(0, Hold::WhenFull);
    assert!(!log.append(&mut pattern(0, 1 << 20)));
    let _ends = pump_into(&log);
    tokio::time::sleep(10 * LAGGARD_PATIENCE).await;
    assert_eq!(log.end_offset(), 1 << 20, "the program waits");
    take(&mut back, 1 << 20).await;
    tokio::time::sleep(2 * LAGGARD_PATIENCE).await;
    assert_eq!(log.end_offset(), (1 << 20) + 4);
}
