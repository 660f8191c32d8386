//! Changes wait for each other, and end with whoever wanted them.

use pid1_sdk::api::command::Body;

use super::registry::{Registry, SMALL};
use super::{OK, add, launch, list, put, text};
use crate::support::{SOON, eventually};

/// A package manager with a family: one child is of its group, one has a session of its own.
const MANIFEST: &str = "{\"name\": \"x\", \"scripts\": {\"install\": \"setsid sleep 1000 & sleep 1001\"}}";
const CHILDREN: [&[u8]; 2] = [b"sleep\x001000\0", b"sleep\x001001\0"];

#[tokio::test]
async fn whoever_is_cut_off_in_a_change_leaves_nothing_and_the_next_has_his_turn() {
    let registry = Registry::start();
    registry.give();
    let launch = launch().env("NPM_CONFIG_REGISTRY", &registry.url());
    put(&launch, &[("package.json", MANIFEST)]);
    let agent = launch.start().await;

    let mut first = agent.client().await;
    let own = first.open("packager3", "").await;
    let holding = tokio::spawn(async move { first.ask(own, Body::PackageInstall(Default::default())).await });
    let root = agent.root();
    eventually("the first one's change is under way", SOON, || {
        CHILDREN.iter().all(|words| {
            agent
                .programs()
                .iter()
                .any(|pid| std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line == *words))
        })
    })
    .await;
    let family = agent.programs();

    let mut second = agent.client().await;
    let channel = second.open("packager3", "").await;
    second.send(channel, add(SMALL)).await;
    // Answered behind it, in the order in which a channel takes what it is sent.
    assert_eq!(list(&mut second, channel).await, [""; 0]);
    assert_eq!((agent.programs(), registry.asked()), (family.clone(), Vec::new()), "the second one waits");

    holding.abort();
    second.output_until(channel, "added 1 package").await;
    // What is done for him begins when nothing of the first is left.
    assert!(family.iter().all(|pid| !agent.programs().contains(pid)), "{family:?} of {:?}", agent.programs());
    assert_eq!(list(&mut second, channel).await, [SMALL]);
    assert!(root.join("node_modules").join(SMALL).exists());
    assert!(text(root.join("package-lock.json")).unwrap().contains(SMALL));
    assert_eq!(second.ask(channel, add(SMALL)).await, OK, "and so has whoever comes then");
}
