//! Events that the kernel drops, because its queue is as short as it can be made. Needs root.

use std::fs;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::support::{Agent, SOON, Shortage, eventually, size};
use crate::watch::tree::Tree;

const QUEUE: &str = "/proc/sys/fs/inotify/max_queued_events";

/// What the agent logs then.
const LOST: &str = "inotify lost events";

/// Two at once would each take the other's for the machine's own.
static ONE: Mutex<()> = Mutex::new(());

/// The machine's own setting again, whatever happens.
struct Shortened(String, #[expect(dead_code, reason = "held")] MutexGuard<'static, ()>);

impl Shortened {
    fn to(events: u32) -> Shortened {
        let guard = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        let before = fs::read_to_string(QUEUE).unwrap();
        fs::write(QUEUE, events.to_string()).unwrap();
        Shortened(before, guard)
    }
}

impl Drop for Shortened {
    fn drop(&mut self) {
        fs::write(QUEUE, &self.0).unwrap();
    }
}

/// More than the kernel keeps, until something was lost.
async fn overwhelm(agent: &Agent) {
    let before = agent.log().matches(LOST).count();
    eventually("something is lost", SOON, || {
        for _ in 0..500 {
            fs::write(agent.root().join("brief"), "").unwrap();
            fs::remove_file(agent.root().join("brief")).unwrap();
        }
        agent.log().matches(LOST).count() > before
    })
    .await;
}

#[tokio::test]
async fn what_the_kernel_loses_is_found_on_the_disk() {
    let _queue = Shortened::to(16);
    let agent = Agent::with(&["--log", "debug"]).await;
    let root = agent.root();
    for number in 0..20 {
        fs::create_dir_all(root.join(format!("d{number}/inner"))).unwrap();
    }
    let mut tree = Tree::open(&agent).await;
    for round in 0..size(5, 50) {
        let script = format!(
            "for i in $(seq 20); do mkdir -p new{round}-$i/a/b; echo x > new{round}-$i/a/b/f; echo x > d$i; done
             mv d0 away{round}; rm -rf d1/inner; mkdir d1/inner; echo x > d1/inner/f{round}; mv away{round} d0
             for i in $(seq 2 2 18); do rm -rf d$i; mkdir -p d$i/inner; echo x > d$i/inner/f{round}; done
             for i in $(seq 500); do echo x > f$i; rm f$i; done; mv new{round}-1 d0/moved{round}"
        );
        Command::new("sh").args(["-c", &script]).current_dir(&root).status().unwrap();
        overwhelm(&agent).await;
        tree.agree().await;
    }
}

#[tokio::test]
async fn what_is_lost_while_descriptors_are_short_is_found_when_there_are_some() {
    let _queue = Shortened::to(16);
    let agent = Agent::with(&["--log", "debug"]).await;
    let root = agent.root();
    for number in 0..20 {
        fs::create_dir_all(root.join(format!("d{number}/inner"))).unwrap();
    }
    let mut tree = Tree::open(&agent).await;
    let shortage = Shortage::of(&agent);
    for number in 0..20 {
        fs::write(root.join(format!("d{number}/inner/new")), "").unwrap();
        fs::rename(root.join(format!("d{number}")), root.join(format!("moved{number}"))).unwrap();
    }
    overwhelm(&agent).await;
    drop(shortage);
    tree.agree().await;
    // Nothing has fallen silent.
    for number in 0..20 {
        fs::write(root.join(format!("moved{number}/inner/later")), "").unwrap();
        fs::write(root.join(format!("later{number}")), "").unwrap();
    }
    tree.agree().await;
}
