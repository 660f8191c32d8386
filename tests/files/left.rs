//! A change of files that an agent was killed over: rolled back before anybody sees the workspace.

use std::fs;
use std::path::Path;

use pid1_sdk::workspace::{Workspace, WorkspaceConfig};

use super::Files;
use crate::support::Launch;

/// A workspace in which a change of two files was begun, and half of it made, by one who is no more.
fn half_changed() -> Launch {
    let launch = Launch::new();
    let [root, scratch] = ["root", "state"].map(|folder| launch.home().join(folder));
    fs::create_dir_all(&root).unwrap();
    fs::create_dir_all(&scratch).unwrap();
    fs::write(root.join("package.json"), "before").unwrap();
    let workspace = Workspace::open(WorkspaceConfig { root: root.clone(), scratch, fsync: false }).unwrap();
    drop(workspace.begin_change(&[Path::new("package.json"), Path::new("lock")]).unwrap());
    fs::write(root.join("package.json"), "half").unwrap();
    fs::write(root.join("lock"), "half").unwrap();
    launch
}

#[tokio::test]
async fn what_a_killed_agent_has_left_half_changed_is_as_it_was() {
    let mut agent = half_changed().start().await;
    let mut files = Files::of(&agent).await;
    assert_eq!(files.read("package.json").await, "before");
    let names: Vec<_> = fs::read_dir(agent.root()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["package.json"]);
    let log = agent.log();
    for (path, kept) in [("package.json", "replaced/package.json.1"), ("lock", "replaced/lock.2")] {
        let told =
            log.lines().any(|line| line.contains("WARN") && line.contains(path) && line.contains(kept));
        assert!(told, "the operator is told of {path}: {log}");
    }
    // Once.
    agent.kill().await;
    let agent = agent.launch().start().await;
    assert!(!agent.log().contains("put back"), "{}", agent.log());
}

#[tokio::test]
async fn a_journal_that_says_nothing_keeps_no_agent_from_starting() {
    let launch = half_changed();
    fs::write(launch.home().join("state/rollback"), "{\"form\":1,\"files\":[{\"path\":\"../x").unwrap();
    let agent = launch.start().await;
    assert_eq!(Files::of(&agent).await.read("package.json").await, "half");
    let log = agent.log();
    assert!(log.contains("WARN") && log.contains("rollback.failed"), "{log}");
}
