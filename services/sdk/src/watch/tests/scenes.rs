//! What subscribers are promised, one thing at a time.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::super::{Kind, News, What};
use super::client::{Client, create, modify, moved, remove, workspace};
use crate::limits;

#[tokio::test]
async fn a_tree_is_watched_to_its_last_leaf() {
    let (root, watcher) = workspace();
    fs::create_dir_all(root.path().join("a/b")).unwrap();
    let mut client = Client::whole(&watcher, root.path()).await;
    fs::write(root.path().join("a/b/c"), "").unwrap();
    let told = client.until(|change| change.path.ends_with("c")).await;
    assert_eq!(told, [create("a/b/c", Kind::File)]);
    fs::rename(root.path().join("a"), root.path().join("z")).unwrap();
    fs::remove_file(root.path().join("z/b/c")).unwrap();
    let told = client.until(|change| change.what == What::Remove).await;
    assert_eq!(told, [moved("a", "z", Kind::Folder), remove("z/b/c", Kind::File)]);
}

#[tokio::test]
async fn changes_of_a_moment_are_one_and_the_first_does_not_wait() {
    let (root, watcher) = workspace();
    let file = root.path().join("file");
    fs::write(&file, "").unwrap();
    let mut client = Client::whole(&watcher, root.path()).await;
    let begin = Instant::now();
    for number in 0..2_000 {
        fs::write(&file, format!("{number}")).unwrap();
    }
    let windows = begin.elapsed().as_millis() / limits::WATCH_WINDOW.as_millis() + 2;
    let told = client.until_fence("fence").await;
    assert!(told.iter().all(|change| *change == modify("file")), "{told:?}");
    assert!(!told.is_empty() && told.len() as u128 <= windows, "{} in {windows} windows", told.len());
}

/// As a client does that is told of a folder, but has not heard of its move when it asks for it.
#[tokio::test]
async fn a_folder_may_be_asked_for_by_the_name_it_was_told_of_with() {
    let (root, watcher) = workspace();
    let mut client = Client::new(&watcher, root.path(), false);
    client.watch.add(vec![PathBuf::new()]).await.unwrap();
    fs::create_dir(root.path().join("old")).unwrap();
    client.until(|change| *change == create("old", Kind::Folder)).await;
    fs::rename(root.path().join("old"), root.path().join("new")).unwrap();
    client.until(|change| *change == moved("old", "new", Kind::Folder)).await;
    fs::write(root.path().join("new/file"), "").unwrap();
    client.watch.add(vec!["old".into()]).await.unwrap();
    client.until(|change| *change == create("new/file", Kind::File)).await;
}

#[tokio::test]
async fn what_one_subscriber_may_watch_has_a_limit_and_what_is_gone_makes_room() {
    let (root, watcher) = workspace();
    let client = Client::new(&watcher, root.path(), false);
    let deep: PathBuf = std::iter::repeat_n("d", 1_000).collect();
    let paths: Vec<PathBuf> = (0..200).map(|number| deep.join(number.to_string())).collect();
    let error = client.watch.add(paths).await.unwrap_err().to_string();
    assert!(error.contains(&limits::WATCHED_NAMES.to_string()) && error.len() < 10_000, "{error}");
    drop(client);

    let most = limits::WATCHED_NAMES / 2;
    let many = |count| (0..count).map(|number| number.to_string().into()).collect::<Vec<PathBuf>>();
    let client = Client::new(&watcher, root.path(), false);
    client.watch.add(many(most)).await.unwrap();
    client.watch.add(vec!["one-more".into()]).await.unwrap_err();
    // One who would be told of their return.
    let client = Client::new(&watcher, root.path(), false);
    client.watch.add(vec![PathBuf::new()]).await.unwrap();
    client.watch.add(many(most - 1)).await.unwrap();
    client.watch.add(vec!["one-more".into()]).await.unwrap();
}

#[tokio::test]
async fn a_folder_that_is_renamed_over_and_over_costs_no_more_than_its_subscriber_may_watch() {
    let (root, watcher) = workspace();
    let deep: PathBuf = std::iter::repeat_n("d", 250).collect();
    fs::create_dir_all(root.path().join("0").join(deep)).unwrap();
    let mut client = Client::open(&watcher, root.path()).await;
    // Each place of the folder that the client is told of as moved is so many names more.
    let rounds = 2 * limits::WATCHED_NAMES / (250 * 250 / 2);
    for round in 0..rounds {
        fs::rename(root.path().join(round.to_string()), root.path().join((round + 1).to_string())).unwrap();
        client.agree().await;
    }
    let moves = client.log.iter().filter(|change| matches!(change.what, What::Move(_))).count();
    assert!((1..rounds).contains(&moves), "{moves} of {rounds}");
    // Of the others it asked for the new place, and what was gone made room.
    assert!(client.log.iter().any(|change| *change == remove("4", Kind::Folder)));
}

#[tokio::test]
async fn a_path_that_leads_out_is_refused() {
    let (root, watcher) = workspace();
    let client = Client::new(&watcher, root.path(), false);
    for path in ["..", "a/../..", "/etc"] {
        let error = client.watch.add(vec![path.into()]).await.unwrap_err().to_string();
        assert!(error.starts_with("cannot watch ") && error.contains("leads out"), "{error}");
    }
}

#[tokio::test]
async fn the_watch_ends_what_is_told() {
    let (root, watcher) = workspace();
    let Client { watch, mut changes, .. } = Client::whole(&watcher, root.path()).await;
    let ended = async {
        while let Some(news) = changes.next().await {
            assert!(matches!(news, News::Changes(_)), "{news:?}");
        }
    };
    drop(watch);
    tokio::time::timeout(Duration::from_secs(10), ended).await.unwrap();
    let (watch, mut changes) = watcher.subscribe().unwrap();
    drop(watcher);
    // One that was never heard of by the thread waits for its own watch to end, or learns of it when it asks.
    assert!(tokio::time::timeout(Duration::from_millis(50), changes.next()).await.is_err());
    watch.add(vec![PathBuf::new()]).await.unwrap_err();
    assert!(tokio::time::timeout(Duration::from_secs(10), changes.next()).await.unwrap().is_none());
}

#[tokio::test]
async fn what_is_asked_for_by_somebody_who_has_left_is_not_watched() {
    let (root, watcher) = workspace();
    let (one, other) = (Client::new(&watcher, root.path(), false), Client::new(&watcher, root.path(), false));
    let many = |prefix: &str| -> Vec<PathBuf> {
        (0..limits::WATCHED_NAMES / 2).map(|number| format!("{prefix}{number}").into()).collect()
    };
    let first = one.watch.add(many("a"));
    tokio::pin!(first);
    assert!(tokio::time::timeout(Duration::ZERO, &mut first).await.is_err());
    // Waits behind the first, and is given up before its turn.
    assert!(tokio::time::timeout(Duration::ZERO, other.watch.add(many("b"))).await.is_err());
    first.await.unwrap();
    // There is room for all of these only if there are none of those.
    other.watch.add(many("c")).await.unwrap();
}

#[tokio::test]
async fn whoever_may_just_have_listed_a_folder_is_told_that_what_was_brief_is_gone() {
    let (root, watcher) = workspace();
    let mut client = Client::new(&watcher, root.path(), false);
    client.watch.add(vec![PathBuf::new()]).await.unwrap();
    // The first is told at once; the second comes and goes while changes are gathered.
    fs::write(root.path().join("first"), "").unwrap();
    client.until(|change| change.path.ends_with("first")).await;
    fs::write(root.path().join("brief"), "").unwrap();
    fs::remove_file(root.path().join("brief")).unwrap();
    client.until(|change| *change == remove("brief", Kind::File)).await;
}
