//! The store, and a second one on the same file: as after a kill.

use std::ops::RangeInclusive;

use super::*;

const ALL: RangeInclusive<i64> = i64::MIN..=i64::MAX;

fn store(folder: &tempfile::TempDir) -> Store {
    Store::new(folder.path().join("store.db"), Runtimes::current())
}

#[tokio::test]
async fn what_is_committed_is_there_for_the_next_agent() {
    let folder = tempfile::tempdir().unwrap();
    let first = store(&folder);
    let put = |tx: &Transaction<'_>| {
        let name = tx.name("test", b"a")?;
        tx.put(name, 2, b"two")?;
        tx.put(name, 1, b"one")?;
        tx.put(name, 1, b"ONE")?;
        Ok(name)
    };
    let name = first.commit(put).unwrap();
    // As after a kill: nothing was closed.
    let next = store(&folder);
    let found = next.commit(|tx| {
        assert_eq!(tx.find("test", b"a")?, Some(name));
        assert_eq!(tx.find("other", b"a")?, None);
        assert_eq!(tx.count("test")?, 1);
        assert_eq!(tx.last(name)?, Some(2));
        assert_eq!(tx.all("test", 2)?, [Named { name, text: b"a".to_vec(), data: b"two".to_vec() }]);
        tx.range(name, ALL)
    });
    assert_eq!(found.unwrap(), [(1, b"ONE".to_vec()), (2, b"two".to_vec())]);
}

#[tokio::test]
async fn a_step_that_fails_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder);
    let name = store.commit(|tx| tx.name("test", b"a")).unwrap();
    let failed: Result<()> = store.commit(|tx| {
        tx.put(name, 1, b"x")?;
        Err(Error::new("given up"))
    });
    assert_eq!(failed.unwrap_err().to_string(), "given up");
    assert_eq!(store.commit(|tx| tx.get(name, 1)).unwrap(), None);
}

#[tokio::test]
async fn what_is_removed_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder);
    store
        .commit(|tx| {
            let name = tx.name("test", b"a")?;
            (0..10).try_for_each(|number| tx.put(name, number, &[7]))?;
            tx.remove_range(name, 0..=4)?;
            assert_eq!(tx.range(name, ALL)?.first(), Some(&(5, vec![7])));
            tx.remove(name)?;
            assert_eq!(tx.find("test", b"a")?, None);
            assert_eq!(tx.range(name, ALL)?, []);
            Ok(())
        })
        .unwrap();
}

#[tokio::test]
async fn what_gathers_is_taken_into_the_main_file() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder);
    let name = store.commit(|tx| tx.name("test", b"a")).unwrap();
    let mut most = 0;
    for number in 0..3_000 {
        store.commit(|tx| tx.put(name, number, &[9; 30_000])).unwrap();
        most = most.max(store.0.pages.load(Ordering::Relaxed));
        if number % 100 == 0 {
            tokio::task::yield_now().await;
        }
    }
    // A few more come while the other connection is still at it.
    assert!(most <= 2 * limits::STORE_WAL_PAGES, "{most} pages");
    store.close();
    let wal = folder.path().join("store.db-wal");
    assert!(!wal.exists() || wal.metadata().unwrap().len() == 0);
    assert_eq!(store.commit(|tx| tx.last(name)).unwrap(), Some(2_999));
}

#[tokio::test]
async fn a_broken_file_is_kept_and_a_new_one_begun() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("store.db"), [b'x'; 8192]).unwrap();
    let store = store(&folder);
    store.commit(|tx| tx.name("test", b"a")).unwrap();
    let names = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
    let kept: Vec<_> = names.filter(|name| name.to_string_lossy().starts_with("store.db.broken-")).collect();
    assert_eq!(kept.len(), 1, "{kept:?}");
}

#[tokio::test]
async fn a_later_format_is_not_touched() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("store.db");
    Connection::open(&file).unwrap().execute_batch("PRAGMA user_version = 99").unwrap();
    let error = store(&folder).commit(|tx| tx.count("test")).unwrap_err().to_string();
    assert!(error.contains("later release") && error.contains("--state-dir"), "{error}");
}

#[tokio::test]
async fn a_claimed_name_is_free_again_when_the_claim_is_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder);
    let claim = store.claim("test", b"a", "first").unwrap();
    assert_eq!(store.claim("test", b"a", "second").unwrap_err(), "first");
    let _other = store.claim("test", b"b", "second").unwrap();
    drop(claim);
    store.claim("test", b"a", "second").unwrap();
}
