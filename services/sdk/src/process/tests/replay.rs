//! A log with a file: from memory to the file to a gap, and resuming at any offset.

use std::sync::Arc;

use super::super::log::Bounds;
use super::*;

pub(super) const BOUNDS: Bounds = Bounds { memory: 64 << 10, file: 256 << 10, batch: 16 << 10 };

pub(super) fn pattern(from: u64, length: usize) -> Vec<u8> {
    (from..from + length as u64).map(|at| (at % 251) as u8).collect()
}

pub(super) async fn fill(log: &OutputLog, from: u64, to: u64) {
    let mut at = from;
    while at < to {
        let length = usize::try_from(to - at).unwrap().min(10_000);
        if log.append(&mut pattern(at, length)) {
            log.spill().await;
        }
        at += length as u64;
    }
}

pub(super) async fn check(log: &OutputLog, from: u64, to: u64) -> Option<(u64, u64)> {
    let mut reader = log.reader(from, Hold::Not);
    let mut gap = None;
    while reader.offset() < to {
        match soon("kept bytes", reader.next(7_777)).await {
            Item::Chunk { offset, bytes } => assert_eq!(bytes, pattern(offset, bytes.len())),
            Item::Gap { from, to } => gap = Some((from, to)),
            other => panic!("{other:?}"),
        }
    }
    gap
}

#[tokio::test]
async fn memory_then_file_then_a_gap() {
    let (_keep, dir) = folder();
    let log = OutputLog::new(BOUNDS, Some(Arc::from(dir.as_path())), Runtimes::current());
    fill(&log, 0, 50_000).await;
    assert_eq!(check(&log, 0, 50_000).await, None);
    fill(&log, 50_000, 300_000).await;
    assert_eq!(check(&log, 0, 300_000).await, None);
    assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 0, "the file has no name");
    fill(&log, 300_000, 2_000_000).await;
    for from in [0, 1_000_000, 1_700_000, 1_800_000, 1_950_000, 1_999_999] {
        let gap = check(&log, from, 2_000_000).await;
        let start = log.start_offset();
        assert_eq!(gap, (from < start).then_some((from, start)));
    }
    let kept = 2_000_000 - log.start_offset();
    assert!((300_000..360_000).contains(&kept), "{kept}");
}

#[tokio::test]
async fn without_a_folder_or_disk_the_memory_is_what_is_kept() {
    let missing = PathBuf::from("/no/such/folder");
    for folder in [None, Some(Arc::from(missing.as_path()))] {
        let log = OutputLog::new(BOUNDS, folder, Runtimes::current());
        fill(&log, 0, 1_000_000).await;
        assert!(check(&log, 0, 1_000_000).await.is_some());
        let kept = 1_000_000 - log.start_offset();
        assert!(kept <= 100_000, "{kept}");
    }
}

#[tokio::test]
async fn a_holding_reader_keeps_what_it_needs() {
    let (_keep, dir) = folder();
    let log = OutputLog::new(BOUNDS, Some(Arc::from(dir.as_path())), Runtimes::current());
    fill(&log, 0, 200_000).await;
    let mut reader = log.reader(0, Hold::Back);
    assert_eq!(log.turn(), super::super::log::Turn::Wait);
    let mut at = 0;
    while at < 200_000 {
        let Item::Chunk { bytes, .. } = soon("chunk", reader.next(1000)).await else {
            panic!("not a chunk");
        };
        at += bytes.len();
    }
    assert_ne!(log.turn(), super::super::log::Turn::Wait);
}

#[tokio::test]
async fn a_program_of_fifty_megabytes_is_replayed_whole() {
    let (_keep, dir) = folder();
    let config = TableConfig { state_dir: Some(dir), ..TableConfig::default() };
    let table = table_with(config);
    let process = table.start(replayed(sh("yes 0123456789abcde | head -c 50000000"))).unwrap();
    soon("exit", process.exited()).await;
    for _ in 0..2 {
        let all = read_all(process.stdout()).await;
        assert_eq!(all.len(), 50_000_000);
        assert!(all.chunks(16).all(|chunk| chunk == b"0123456789abcde\n"));
    }
}
