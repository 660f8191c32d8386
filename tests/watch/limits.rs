//! One watch for all, none for nobody, and what happens when there are no more.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use pid1_sdk::api::command::Body;

use crate::support::{Agent, LATE, Launch, SOON, Shortage, eventually};

use super::tree::{Tree, subscribe, watches};

/// Threads that watch.
fn watchers(agent: &Agent) -> usize {
    let tasks = fs::read_dir(format!("/proc/{}/task", agent.pid())).unwrap().flatten();
    tasks.filter(|task| fs::read(task.path().join("comm")).is_ok_and(|name| name == b"pid1-watch\n")).count()
}

#[tokio::test]
async fn a_folder_is_watched_once_for_all_and_not_at_all_for_nobody() {
    let agent = Agent::start().await;
    assert_eq!(watchers(&agent), 0);
    fs::create_dir_all(agent.root().join("a/b")).unwrap();
    let one = Tree::open(&agent).await;
    assert_eq!(watches(&agent), 3);
    let other = Tree::open(&agent).await;
    assert_eq!(watches(&agent), 3);
    assert_eq!(watchers(&agent), 1);
    drop(one);
    let mut other = other;
    fs::create_dir(agent.root().join("a/c")).unwrap();
    other.agree().await;
    eventually("the new folder is watched", SOON, || watches(&agent) == 4).await;
    drop(other);
    eventually("nobody is there to watch for", SOON, || watches(&agent) == 0).await;
}

#[tokio::test]
async fn with_too_few_watches_changes_are_still_seen_and_people_are_told() {
    let agent = Agent::with(&["--max-watches", "4"]).await;
    for number in 0..10 {
        fs::create_dir_all(agent.root().join(format!("d{number}/inner"))).unwrap();
    }
    let mut tree = Tree::open(&agent).await;
    assert_eq!(watches(&agent), 4);
    for number in 0..10 {
        fs::write(agent.root().join(format!("d{number}/inner/file")), "").unwrap();
        fs::create_dir_all(agent.root().join(format!("d{number}/new/deep"))).unwrap();
    }
    tree.agree().await;
    fs::remove_dir_all(agent.root().join("d5")).unwrap();
    fs::rename(agent.root().join("d6"), agent.root().join("moved")).unwrap();
    tree.agree().await;
    assert_eq!(tree.toasts.len(), 1, "{:?}", tree.toasts);
    assert!(tree.toasts[0].contains("--max-watches"), "{}", tree.toasts[0]);
    // Once there are watches again they are used.
    for number in 0..10 {
        let _ = fs::remove_dir_all(agent.root().join(format!("d{number}")));
    }
    fs::remove_dir_all(agent.root().join("moved")).unwrap();
    tree.agree().await;
    fs::create_dir(agent.root().join("x")).unwrap();
    tree.agree().await;
    eventually("the new folder is watched", SOON, || watches(&agent) == 2).await;
}

/// A user of its own, to whom the kernel gives this many. Needs root.
#[tokio::test]
async fn when_the_kernel_gives_no_more_watches_the_sysctl_is_named() {
    let few = "echo 3 > /proc/sys/user/max_inotify_watches && exec \"$0\" \"$@\"";
    let confined = Launch::new().through(&["unshare", "--user", "--map-root-user", "sh", "-c", few]);
    let agent = confined.start().await;
    for number in 0..6 {
        fs::create_dir_all(agent.root().join(format!("d{number}"))).unwrap();
    }
    let mut tree = Tree::open(&agent).await;
    for number in 0..6 {
        fs::write(agent.root().join(format!("d{number}/file")), "").unwrap();
    }
    tree.agree().await;
    assert!(tree.toasts[0].contains("fs.inotify.max_user_watches"), "{:?}", tree.toasts);
}

/// Needs root.
#[tokio::test]
async fn a_folder_that_is_mounted_at_two_places_is_watched_at_both() {
    let mount = "cd root && mkdir -p a/inner b && mount --bind a b && cd .. && exec \"$0\" \"$@\"";
    let agent = Launch::new().through(&["unshare", "--mount", "sh", "-c", mount]).start().await;
    let mut tree = Tree::open(&agent).await;
    // As the agent sees it.
    let place = agent.root().strip_prefix("/").unwrap().to_owned();
    tree.root = format!("/proc/{}/root", agent.pid()).into();
    tree.root.push(place);
    fs::write(tree.root.join("a/file"), "").unwrap();
    tree.agree().await;
    assert_eq!(tree.told().await, ["Create a/file", "Create b/file"]);
    fs::create_dir(tree.root.join("b/inner/new")).unwrap();
    fs::rename(tree.root.join("a/inner"), tree.root.join("a/moved")).unwrap();
    fs::rename(tree.root.join("b/file"), tree.root.join("b/moved/new/file")).unwrap();
    tree.agree().await;
    fs::remove_dir_all(tree.root.join("b/moved/new")).unwrap();
    tree.agree().await;
    assert_eq!(watches(&agent), 3);
    tree.log.clear();
    // It comes to rest.
    assert!(!tree.take(Duration::from_secs(1)).await, "{:?}", tree.log);
}

/// Needs root, to run it as somebody else.
#[tokio::test]
async fn a_folder_that_could_not_be_read_for_a_while_is_told_of_when_it_can_be() {
    let agent = Launch::new().confined().start().await;
    let root = agent.root();
    let allow = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    fs::create_dir_all(root.join("d/inner")).unwrap();
    fs::write(root.join("d/old"), "").unwrap();
    let mut tree = Tree::open(&agent).await;
    allow(&root.join("d"), 0o700);
    fs::write(root.join("d/inner/new"), "").unwrap();
    while tree.known.keys().any(|known| known.starts_with("d/")) {
        assert!(tree.take(LATE).await, "{:?}", tree.known);
    }
    allow(&root.join("d"), 0o755);
    tree.agree().await;
    // Nor is the root lost for good.
    allow(&root, 0o000);
    fs::write(root.join("new"), "").unwrap();
    fs::write(root.join("d/inner/newer"), "").unwrap();
    assert!(!tree.take(Duration::from_millis(500)).await, "{:?}", tree.log);
    allow(&root, 0o755);
    tree.agree().await;
    fs::write(root.join("d/inner/newest"), "").unwrap();
    tree.agree().await;
}

#[tokio::test]
async fn what_is_asked_for_while_descriptors_are_short_is_watched_when_there_are_some() {
    let agent = Agent::start().await;
    fs::create_dir(agent.root().join("d")).unwrap();
    fs::write(agent.root().join("d/old"), "").unwrap();
    let mut tree = Tree::nothing(&agent).await;
    tree.peer.ask(tree.channel, subscribe("d/x")).await;
    let shortage = Shortage::of(&agent);
    // It is watched already, but what is in it has not been of interest.
    assert!(matches!(tree.peer.ask(tree.channel, subscribe("d")).await, Body::Ok(_)));
    drop(shortage);
    tree.until("d/old").await;
    fs::remove_file(agent.root().join("d/old")).unwrap();
    while tree.known.contains_key("d/old") {
        assert!(tree.take(LATE).await);
    }
}

#[tokio::test]
async fn nothing_is_told_of_what_the_agent_keeps_or_is_writing() {
    let agent = Agent::start().await;
    let mut tree = Tree::open(&agent).await;
    fs::create_dir(agent.root().join(".pid1")).unwrap();
    fs::write(agent.root().join(".pid1/state"), "").unwrap();
    fs::write(agent.root().join(".pid1-tmp-0123456789abcdef"), "").unwrap();
    assert!(matches!(tree.peer.ask(tree.channel, subscribe(".pid1")).await, Body::Ok(_) | Body::Error(_)));
    fs::write(agent.root().join(".pid1/more"), "").unwrap();
    assert_eq!(tree.told().await, [""; 0]);
}

#[tokio::test]
async fn a_path_is_watched_whether_it_is_there_or_not() {
    let agent = Agent::start().await;
    let mut tree = Tree::nothing(&agent).await;
    tree.peer.ask(tree.channel, subscribe("a/b/c")).await;
    fs::create_dir_all(agent.root().join("a/b")).unwrap();
    fs::write(agent.root().join("a/b/c"), "").unwrap();
    tree.until("a/b/c").await;
    // Whatever happens above it.
    fs::rename(agent.root().join("a"), agent.root().join("z")).unwrap();
    while tree.known.contains_key("a/b/c") {
        assert!(tree.take(LATE).await);
    }
    fs::rename(agent.root().join("z"), agent.root().join("a")).unwrap();
    tree.until("a/b/c").await;
    assert!(!tree.take(Duration::from_millis(200)).await, "{:?}", tree.log);
}
