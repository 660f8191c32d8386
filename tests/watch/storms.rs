//! Much at once, and clients that do not keep up.

use std::fs;
use std::process::Command;

use crate::support::{Agent, HEAVY, LATE, SLACK_BYTES, size};

use super::tree::Tree;

#[tokio::test]
async fn a_storm_of_new_files_is_one_message_for_each() {
    let _heavy = HEAVY.lock().await;
    let agent = Agent::start().await;
    let mut tree = Tree::open(&agent).await;
    let count = size(5_000, 50_000);
    let folder = agent.root().join("storm");
    fs::create_dir(&folder).unwrap();
    tree.until("storm").await;
    for number in 0..count {
        fs::write(folder.join(format!("file-{number}")), "content").unwrap();
    }
    tree.agree().await;
    let told = tree.told().await;
    let created = told.iter().filter(|said| said.starts_with("Create storm/")).count();
    assert_eq!(created, count);
    // A file may be told of before it is written; more than that once is not needed.
    assert!(told.len() <= 2 * count + 1, "{} messages for {count} files", told.len());

    // What comes and goes within a moment costs next to nothing.
    for number in 0..count {
        fs::write(folder.join("brief"), number.to_string()).unwrap();
        fs::remove_file(folder.join("brief")).unwrap();
    }
    let told = tree.told().await;
    assert!(told.len() < count / 10, "{} messages for {count} brief files", told.len());

    fs::remove_dir_all(&folder).unwrap();
    tree.agree().await;
}

#[tokio::test]
async fn folders_made_in_one_go_are_told_of_to_the_last() {
    let agent = Agent::start().await;
    let mut tree = Tree::open(&agent).await;
    for round in 0..20 {
        let top = agent.root().join(format!("top{round}"));
        fs::create_dir_all(top.join("a/b/c/d/e")).unwrap();
        fs::write(top.join("a/b/c/d/e/file"), "").unwrap();
        if round % 3 == 0 {
            fs::rename(&top, agent.root().join(format!("moved{round}"))).unwrap();
        }
        if round % 3 == 1 {
            fs::remove_dir_all(top.join("a/b")).unwrap();
            fs::write(top.join("a/b"), "a file by now").unwrap();
        }
        if round % 4 == 0 {
            tree.agree().await;
        }
    }
    tree.agree().await;
    // A folder that a file replaces, and that comes back.
    let place = agent.root().join("top2/a");
    for _ in 0..5 {
        fs::remove_dir_all(&place).unwrap();
        fs::write(&place, "").unwrap();
        fs::remove_file(&place).unwrap();
        fs::create_dir_all(place.join("again")).unwrap();
    }
    tree.agree().await;
}

#[tokio::test]
async fn a_client_that_does_not_read_gets_the_difference_and_costs_little() {
    let _heavy = HEAVY.lock().await;
    // It would be taken for gone.
    let agent = Agent::with(&["--ping-interval", "600"]).await;
    let mut stuck = Tree::open(&agent).await;
    let mut tree = Tree::open(&agent).await;
    let folder = agent.root().join("many");
    fs::create_dir(&folder).unwrap();
    stuck.until("many").await;
    tree.until("many").await;
    let storm = format!(
        "for i in $(seq {}); do echo x > f$i; done; rm f*; mkdir sub; for i in 1 2 3; do echo x > sub/f$i; done",
        size(5_000, 100_000)
    );
    let mut rss = Vec::new();
    for _ in 0..4 {
        let mut shell = Command::new("sh")
            .args(["-c", &format!("rm -rf sub; {storm}")])
            .current_dir(&folder)
            .spawn()
            .unwrap();
        while shell.try_wait().unwrap().is_none() {
            tree.take(std::time::Duration::from_millis(100)).await;
        }
        tree.agree().await;
        rss.push(agent.rss_bytes());
    }
    // However long it reads nothing.
    assert!(rss[3] <= rss[1].max(rss[0]) + SLACK_BYTES, "{rss:?}");
    let unread = stuck.known.len();
    tokio::time::timeout(LATE, stuck.agree()).await.unwrap();
    assert!(stuck.known.len() > unread);
}
