//! What programs write arrives whole, in order, and its end is told at the right place.

use super::super::{StopCause, Stream};
use super::*;

#[tokio::test]
async fn streams_split_and_merged() {
    let table = table();
    let split = Spec { io: Io::Pipes { split_stderr: true }, ..sh("echo out; echo err >&2") };
    let process = table.start(split).unwrap();
    assert_eq!(read_all(process.output(Stream::Stdout).unwrap()).await, b"out\n");
    assert_eq!(read_all(process.output(Stream::Stderr).unwrap()).await, b"err\n");
    let merged = table.start(sh("echo out; echo err >&2")).unwrap();
    assert_eq!(text_of(&merged).await, "out\nerr\n");
    assert!(merged.output(Stream::Stderr).is_none());
}

#[tokio::test]
async fn the_last_bytes_before_an_exit_are_never_lost() {
    let table = table();
    for round in 0..200 {
        let spec = spec(&["printf", "%s", &format!("last words {round}")]);
        let spec = if round % 2 == 0 { spec } else { on_terminal(spec) };
        let process = table.start(spec).unwrap();
        assert_eq!(text_of(&process).await, format!("last words {round}"));
    }
}

#[tokio::test]
async fn settled_comes_between_the_leaders_and_its_childrens_output() {
    for io in [Io::Pipes { split_stderr: false }, Io::Terminal(SIZE)] {
        let table = table();
        // The child has a session of its own, so that the terminal's end does not end it.
        let script = "(setsid sh -c 'read x <&3; printf after' 3<$GO &) ; printf before";
        let (_keep, dir) = folder();
        let go = dir.join("go");
        nix::unistd::mkfifo(&go, nix::sys::stat::Mode::S_IRWXU).unwrap();
        // Opened for both, so that neither side waits for the other.
        let gate = std::fs::File::options().read(true).write(true).open(&go).unwrap();
        let mut spec = Spec { io, ..sh(script) };
        spec.env.push(("GO".into(), go.into_os_string()));
        let process = table.start(spec).unwrap();
        let mut reader = process.stdout().reader(0, Hold::Back);
        let mut before = Vec::new();
        loop {
            match soon("settled", reader.next(3)).await {
                Item::Chunk { bytes, .. } => before.extend_from_slice(&bytes),
                Item::Settled => break,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(before, b"before");
        assert!(process.try_exit().is_some());
        std::io::Write::write_all(&mut &gate, b"\n").unwrap();
        if !process.terminal() {
            let mut after = Vec::new();
            loop {
                match soon("end", reader.next(3)).await {
                    Item::Chunk { bytes, .. } => after.extend_from_slice(&bytes),
                    Item::End => break,
                    other => panic!("{other:?}"),
                }
            }
            assert_eq!(after, b"after");
        }
        process.kill(StopCause::Request);
        soon("stop", process.stopped()).await;
    }
}

#[tokio::test]
async fn closing_output_early_settles_at_the_exit() {
    let table = table();
    let process = table.start(sh("printf x; exec >&- 2>&-; read line; exit 4")).unwrap();
    let mut reader = process.stdout().reader(0, Hold::Not);
    assert!(matches!(soon("x", reader.next(9)).await, Item::Chunk { .. }));
    until("end of file", || process.stdout().ended()).await;
    assert!(reader.try_next(9).is_none());
    process.stdin().push("\n".into()).unwrap();
    assert_eq!(soon("settled", reader.next(9)).await, Item::Settled);
    assert_eq!(soon("end", reader.next(9)).await, Item::End);
    assert_eq!(soon("end", reader.next(9)).await, Item::End);
}

#[tokio::test]
async fn reading_can_be_cancelled_and_resumed_anywhere() {
    let table = table();
    let process = table.start(sh("seq 1 20000; read line; seq 20001 30000")).unwrap();
    let mut expected = Vec::new();
    for line in 1..=30000 {
        expected.extend_from_slice(format!("{line}\n").as_bytes());
    }
    until("first part", || process.stdout().end_offset() == 108_894).await;
    let mut reader = process.stdout().reader(108_894, Hold::Back);
    for _ in 0..10 {
        assert!(tokio::time::timeout(Duration::from_millis(1), reader.next(10)).await.is_err());
    }
    process.stdin().push("\n".into()).unwrap();
    let first = soon("chunk", reader.next(10)).await;
    assert_eq!(first, Item::Chunk { offset: 108_894, bytes: "20001\n2000".into() });
    assert_eq!(read_all(process.stdout()).await, expected);
    for from in [0, 1, 4095, 4096, 4097, 65_535, 108_893, 108_895, 168_893, 168_894, 200_000] {
        let mut reader = process.stdout().reader(from, Hold::Not);
        let mut at = from;
        loop {
            match soon("item", reader.next(1000)).await {
                Item::Chunk { offset, bytes } => {
                    assert_eq!(offset, at);
                    let index = usize::try_from(offset).unwrap();
                    assert_eq!(bytes, expected[index..index + bytes.len()]);
                    at += bytes.len() as u64;
                }
                Item::Settled => {}
                Item::End => break,
                Item::Gap { .. } => panic!("gap at {at}"),
            }
        }
        assert_eq!(at, from.max(expected.len() as u64));
    }
}

#[tokio::test]
async fn tails_are_cut_behind_line_feeds() {
    let table = table();
    let process = table.start(sh("seq 1 5; printf 'prompt> '")).unwrap();
    read_all(process.stdout()).await;
    let log = process.stdout();
    let tail = |lines, bytes| {
        let (offset, bytes) = log.tail(u64::MAX, lines, bytes);
        (offset, String::from_utf8(bytes.to_vec()).unwrap())
    };
    assert_eq!(tail(1, 100), (8, "5\nprompt> ".to_owned()));
    assert_eq!(tail(2, 100), (6, "4\n5\nprompt> ".to_owned()));
    assert_eq!(tail(100, 100), (0, "1\n2\n3\n4\n5\nprompt> ".to_owned()));
    assert_eq!(tail(100, 11), (8, "5\nprompt> ".to_owned()));
    assert_eq!(tail(100, 5), (13, "mpt> ".to_owned()));
    assert_eq!(tail(0, 100), (18, String::new()));
    let lines = table.start(sh("seq 1 5")).unwrap();
    read_all(lines.stdout()).await;
    assert_eq!(lines.stdout().tail(u64::MAX, 2, 100), (6, "4\n5\n".into()));
}

#[tokio::test]
async fn how_far_a_stream_is_written_is_known_before_it_is_read() {
    let table = table();
    let process = table.start(sh("printf 0123; read x; printf 4567; exec yes")).unwrap();
    expect(&process, "0123").await;
    assert_eq!(soon("an answer", process.stdout().written()).await, 4);
    // Nobody takes what comes, and more stands in the pipe than the pump has read.
    let mut reader = process.stdout().reader(0, Hold::Back);
    process.stdin().push("\n".into()).unwrap();
    let until = soon("a full pipe", async {
        loop {
            let (written, read) = (process.stdout().written().await, process.stdout().end_offset());
            if written > read && read >= crate::limits::TAIL_BYTES as u64 {
                return written;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
    while reader.offset() < until {
        soon("output", reader.next(usize::MAX)).await;
    }
    process.kill(StopCause::Request);
    process.stopped().await;
    drop(reader);
    read_all_after(&process, until).await;
}

/// A log at its end answers, too.
async fn read_all_after(process: &Process, at_least: u64) {
    soon("the end", async {
        while !process.stdout().ended() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let end = soon("an answer", process.stdout().written()).await;
    assert!(end >= at_least && end == process.stdout().end_offset());
}
