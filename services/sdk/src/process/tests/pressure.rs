//! Slow readers hold programs back, memory stays bounded, busy streams move to the bulk runtime and back.

use std::sync::mpsc;

use super::super::StopCause;
use super::*;

/// A simple running hash, enough to notice a lost, doubled or moved byte.
fn hash(seed: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(seed, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

#[tokio::test]
async fn a_slow_holding_reader_gets_every_byte_and_memory_stays_bounded() {
    const TOTAL: usize = 300 << 20;
    let table = table();
    let script = format!("yes 0123456789abcde | head -c {TOTAL}");
    let process = table.start(sh(&script)).unwrap();
    let mut reader = process.stdout().reader(0, Hold::Back);
    let (mut at, mut sum, mut most) = (0usize, 0, 0);
    loop {
        // Takes little at a time, so that the program is far ahead of it all the time.
        match soon("output", reader.next(32 << 10)).await {
            Item::Chunk { offset, bytes } => {
                assert_eq!(offset, at as u64);
                at += bytes.len();
                sum = hash(sum, &bytes);
                most = most.max(process.stdout().end_offset() - process.stdout().start_offset());
            }
            Item::Gap { from, to } => panic!("gap {from}..{to}"),
            Item::Settled => {}
            Item::End => break,
        }
    }
    assert_eq!(at, TOTAL);
    let line = b"0123456789abcde\n".repeat(1 << 16);
    let expected = (0..TOTAL / line.len()).fold(0, |sum, _| hash(sum, &line));
    assert_eq!(sum, expected);
    assert!(most <= 768 << 10, "{most} bytes were kept");
}

#[tokio::test]
async fn a_reader_that_does_not_read_stops_the_program_and_its_drop_lets_it_go() {
    let table = table();
    let process = table.start(sh("yes | head -c 50000000; echo; echo done")).unwrap();
    let reader = process.stdout().reader(0, Hold::Back);
    until("a full window", || process.stdout().end_offset() >= 256 << 10).await;
    // More cannot come: the pump is waiting. What it does come to is bounded.
    tokio::task::yield_now().await;
    assert!(process.stdout().end_offset() <= 512 << 10);
    assert_eq!(process.stdout().start_offset(), 0);
    drop(reader);
    soon("exit", process.exited()).await;
    until("the rest", || process.stdout().ended()).await;
    assert_eq!(process.stdout().end_offset(), 50_000_006);
    let (_, tail) = process.stdout().tail(u64::MAX, 1, 100);
    assert_eq!(tail, "done\n");
    let kept = 50_000_006 - process.stdout().start_offset();
    assert!(kept <= 512 << 10, "{kept}");
    let mut late = process.stdout().reader(0, Hold::Not);
    assert!(matches!(soon("gap", late.next(9)).await, Item::Gap { from: 0, .. }));
    assert!(matches!(soon("rest", late.next(9)).await, Item::Chunk { .. }));
}

#[tokio::test]
async fn what_was_written_before_a_kill_is_still_read() {
    let table = table();
    // Fills the window, the pump's read and the pipe, and blocks there.
    let process = table.start(sh("yes 0123456789abcde")).unwrap();
    let mut reader = process.stdout().reader(0, Hold::Back);
    until("a full window", || process.stdout().end_offset() >= 256 << 10).await;
    process.kill(StopCause::Timeout);
    soon("stop", process.stopped()).await;
    let at_kill = process.stdout().end_offset();
    let mut at = 0;
    loop {
        match soon("the rest", reader.next(1 << 20)).await {
            Item::Chunk { offset, bytes } => {
                assert_eq!(offset, at);
                at += bytes.len() as u64;
            }
            Item::Settled => {}
            Item::End => break,
            Item::Gap { .. } => panic!("gap"),
        }
    }
    assert!(at >= at_kill + (60 << 10), "{at} of more than {at_kill}");
}

#[tokio::test]
async fn twenty_megabytes_through_a_terminal() {
    let table = table();
    let spec = on_terminal(sh("stty raw; yes 0123456789abcde | head -c 20000000; printf end"));
    let process = table.start(spec).unwrap();
    let all = read_all(process.stdout()).await;
    assert_eq!(all.len(), 20_000_003);
    assert!(all.ends_with(b"0123456789abcde\nend"));
    let line = b"0123456789abcde\n";
    assert!(all[..20_000_000].chunks(16).all(|chunk| chunk == line));
}

/// Two real runtimes, each on a thread of its own.
#[test]
fn a_busy_pump_moves_to_the_bulk_runtime_and_back() {
    let (send, receive) = mpsc::channel();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let bulk = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        send.send(runtime.handle().clone()).unwrap();
        runtime.block_on(async { stopped.await.ok() });
    });
    let bulk_handle = receive.recv().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let runtimes = Runtimes::new(tokio::runtime::Handle::current(), [], bulk_handle);
        let table = ProcessTable::new(runtimes, TableConfig::default());
        for io in [Io::Pipes { split_stderr: false }, Io::Terminal(SIZE)] {
            let script =
                "echo quiet; read a; yes | head -c 20000000; echo; echo calm; read b; echo again; read c";
            let spec = Spec { io, ..sh(script) };
            let process = table.start(spec).unwrap();
            expect(&process, "quiet").await;
            assert!(!process.stdout().busy());
            process.stdin().push("\n".into()).unwrap();
            until("the move to bulk", || process.stdout().busy()).await;
            until("calm", || process.stdout().tail(u64::MAX, 1, 64).1.starts_with(b"calm")).await;
            until("the way back", || !process.stdout().busy()).await;
            process.stdin().push("\n".into()).unwrap();
            until("again", || process.stdout().tail(u64::MAX, 1, 64).1.starts_with(b"again")).await;
            process.kill(StopCause::Request);
            soon("stop", process.stopped()).await;
        }
    });
    stop.send(()).unwrap();
    bulk.join().unwrap();
}
