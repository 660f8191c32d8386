//! Logs that have ended: put away without a byte lost, or given up.

use std::sync::Arc;

use super::super::{Kept, lock};
use super::replay::{BOUNDS, check, fill};
use super::*;

fn log_in(folder: Option<&std::path::Path>) -> OutputLog {
    OutputLog::new(BOUNDS, folder.map(Arc::from), Runtimes::current())
}

async fn ended(log: &OutputLog, length: u64) {
    fill(log, 0, length).await;
    log.leader_exited();
    log.end();
}

#[tokio::test]
async fn readers_go_on_while_a_log_is_put_away_and_all_can_be_read_again() {
    let (_keep, dir) = folder();
    // Without a file so far, with one, and with one that has no more room for all.
    for length in [50_000, 200_000, 300_001] {
        let log = log_in(Some(&dir));
        ended(&log, length).await;
        let mut readers = Vec::new();
        for from in [0, 1, length / 2, length - 70_000.min(length), length - 10_001, length - 1] {
            for hold in [Hold::Back, Hold::WhenFull, Hold::Not] {
                let mut reader = log.reader(from, hold);
                reader.try_next(7);
                readers.push(reader);
            }
        }
        let readers: Vec<_> = readers
            .into_iter()
            .map(|mut reader| {
                tokio::spawn(async move {
                    loop {
                        match soon("kept bytes", reader.next(997)).await {
                            Item::Chunk { offset, bytes } => {
                                assert_eq!(bytes, super::replay::pattern(offset, bytes.len()));
                            }
                            Item::Settled => {}
                            Item::End => return reader.offset(),
                            Item::Gap { from, to } => panic!("gap {from}..{to}"),
                        }
                        tokio::task::yield_now().await;
                    }
                })
            })
            .collect();
        soon("shelving", log.shelve()).await;
        let kept = log.kept();
        assert_eq!(kept.memory_bytes + kept.file_bytes, length);
        assert_eq!(kept.memory_bytes == 0, length <= BOUNDS.file);
        for reader in readers {
            assert_eq!(reader.await.unwrap(), length);
        }
        assert_eq!(check(&log, 0, length).await, None);
        soon("shelving", log.shelve()).await;
        assert_eq!(log.kept(), kept);
    }
}

#[tokio::test]
async fn nothing_is_given_up_for_a_file_that_is_full() {
    let (_keep, dir) = folder();
    let log = log_in(Some(&dir));
    ended(&log, 1_000_000).await;
    let (start, before) = (log.start_offset(), log.kept());
    log.shelve().await;
    assert_eq!((log.start_offset(), log.kept()), (start, before));
    assert_eq!(check(&log, start, 1_000_000).await, None);
}

#[tokio::test]
async fn little_stays_in_memory_without_spare_room() {
    let (_keep, dir) = folder();
    for (length, memory_bytes) in [(0, 0), (1, 1), (4096, 4096), (4097, 0)] {
        let log = log_in(Some(&dir));
        for at in 0..length {
            log.append(&mut super::replay::pattern(at, 1));
        }
        log.shelve().await;
        assert_eq!(log.kept(), Kept { memory_bytes: length, file_bytes: 0 }, "it has not ended");
        log.end();
        log.shelve().await;
        assert_eq!(log.kept(), Kept { memory_bytes, file_bytes: length - memory_bytes });
        assert_eq!(lock(&log.shared.state).memory.allocated(), usize::try_from(memory_bytes).unwrap());
        assert_eq!(check(&log, 0, length).await, None);
    }
}

#[tokio::test]
async fn what_cannot_be_written_stays_in_memory() {
    let (_keep, dir) = folder();
    let missing = PathBuf::from("/no/such/folder");
    for folder in [None, Some(missing.as_path())] {
        let log = log_in(folder);
        ended(&log, 60_000).await;
        log.shelve().await;
        assert_eq!(log.kept(), Kept { memory_bytes: 60_000, file_bytes: 0 });
        assert_eq!(check(&log, 0, 60_000).await, None);
    }
    let log = log_in(Some(&dir));
    ended(&log, 200_000).await;
    lock(&log.shared.state).ring.as_mut().unwrap().fail_writes();
    let before = log.kept();
    log.shelve().await;
    assert_eq!(log.kept(), before);
    assert_eq!(check(&log, 0, 200_000).await, None);
}

#[tokio::test]
async fn putting_away_needs_nobody_who_waits() {
    let (_keep, dir) = folder();
    let log = log_in(Some(&dir));
    ended(&log, 60_000).await;
    let mut shelving = Box::pin(log.shelve());
    assert!(futures_util::poll!(&mut shelving).is_pending());
    drop(shelving);
    until("the file", || log.kept() == Kept { memory_bytes: 0, file_bytes: 60_000 }).await;
    assert_eq!(check(&log, 0, 60_000).await, None);
}

#[tokio::test]
async fn what_is_forgotten_is_a_gap() {
    let (_keep, dir) = folder();
    for shelved in [false, true] {
        let log = log_in(Some(&dir));
        ended(&log, 200_000).await;
        let mut readers = [log.reader(0, Hold::Back), log.reader(190_000, Hold::Not)];
        for reader in &mut readers {
            assert!(matches!(soon("a byte", reader.next(1)).await, Item::Chunk { .. }));
        }
        if shelved {
            log.shelve().await;
        }
        log.forget();
        assert_eq!((log.start_offset(), log.end_offset()), (200_000, 200_000));
        assert_eq!(log.kept(), Kept::default());
        for reader in &mut readers {
            let from = reader.offset();
            assert_eq!(soon("gap", reader.next(9)).await, Item::Gap { from, to: 200_000 });
            assert_eq!(soon("settled", reader.next(9)).await, Item::Settled);
            assert_eq!(soon("end", reader.next(9)).await, Item::End);
        }
    }
}

#[tokio::test]
async fn what_comes_after_that_is_in_memory() {
    let (_keep, dir) = folder();
    let log = log_in(Some(&dir));
    fill(&log, 0, 200_000).await;
    log.forget();
    fill(&log, 200_000, 500_000).await;
    let kept = log.kept();
    assert_eq!(kept.file_bytes, 0);
    assert!((BOUNDS.memory..BOUNDS.memory + 20_000).contains(&kept.memory_bytes), "{kept:?}");
    let start = log.start_offset();
    assert_eq!(check(&log, 0, 500_000).await, Some((0, start)));
}

#[tokio::test]
async fn the_end_of_a_log_can_be_waited_for() {
    let log = log_in(None);
    for _ in 0..3 {
        let mut end = Box::pin(log.at_end());
        assert!(futures_util::poll!(&mut end).is_pending());
        log.append(&mut vec![1]);
        assert!(futures_util::poll!(&mut end).is_pending());
    }
    let waiting = tokio::spawn({
        let log = log.clone();
        async move { log.at_end().await }
    });
    tokio::task::yield_now().await;
    log.end();
    soon("the end", waiting).await.unwrap();
    soon("the end", log.at_end()).await;
}
