//! No room on the workspace's disk: from the beginning, or when it comes to the packages. Needs root.

use std::fs;

use pid1_sdk::api::command::Body;

use super::registry::{BIG, Registry};
use super::{add, launch, list, text};
use crate::support::Launch;

const MANIFEST: &str = "{\"name\": \"x\"}";

/// A project of Node on a disk of 4 MiB of its own, on which this is done first.
fn on_a_small_disk(registry: &Registry, prepare: &str) -> Launch {
    let launch = launch();
    let script = format!(
        "set -e; mkdir -p \"$DISK\"; mount -t tmpfs -o size=4m none \"$DISK\"; printf '%s' '{MANIFEST}' > \"$DISK/package.json\"
        {prepare}
        exec \"$0\" \"$@\""
    );
    let disk = launch.home().join("root");
    launch
        .env("DISK", disk.to_str().unwrap())
        .env("NPM_CONFIG_REGISTRY", &registry.url())
        .through(&["unshare", "--mount", "sh", "-c", &script])
}

#[tokio::test]
async fn where_there_is_no_room_nothing_is_begun() {
    let registry = Registry::start();
    let fill = "cat /dev/zero > \"$DISK/fill\" 2> /dev/null || :";
    let agent = on_a_small_disk(&registry, fill).start().await;
    let mut peer = agent.client().await;
    let channel = peer.open("packager3", "packager").await;
    let said = peer.refused(channel, add(BIG)).await;
    assert_eq!(said, "change package.json: no space left on device");
    assert_eq!(registry.asked(), [""; 0], "nothing was started");
    assert_eq!(text(agent.inside("package.json")).as_deref(), Some(MANIFEST));
    assert_eq!(super::names(&agent.inside("")), ["fill", "package.json"]);
    // And then there is.
    fs::remove_file(agent.inside("fill")).unwrap();
    registry.give();
    assert_eq!(peer.ask(channel, add(super::registry::SMALL)).await, super::OK);
    assert_eq!(list(&mut peer, channel).await, [super::registry::SMALL]);
}

#[tokio::test]
async fn where_the_packages_find_no_room_the_files_are_as_they_were() {
    let registry = Registry::start();
    registry.give();
    let agent = on_a_small_disk(&registry, ":").start().await;
    let mut peer = agent.client().await;
    let channel = peer.open("packager3", "packager").await;
    let said = peer.refused(channel, add(BIG)).await;
    assert!(said.starts_with("npm install: exit status"), "{said}");
    assert!(peer.output_until(channel, "ENOSPC").await.contains("--> npm install big"));
    assert_eq!(text(agent.inside("package.json")).as_deref(), Some(MANIFEST));
    assert_eq!(text(agent.inside("package-lock.json")), None);
    let left: Vec<_> =
        super::names(&agent.inside("")).into_iter().filter(|name| name.starts_with('.')).collect();
    assert_eq!(left, [""; 0]);
    peer.ping().await;
    assert_eq!(list(&mut peer, channel).await, [""; 0]);
    let answer = peer.ask(channel, Body::PackageInstall(Default::default())).await;
    assert_eq!(answer, super::OK, "the agent goes on");
}
