//! Without a network: what cannot be had is said, nothing has changed, and nobody is told that there is no such package.

use std::fs;

use pid1_sdk::api::{PackageInfo, PackageSearch, command::Body};

use super::{MANIFEST, add, launch, names, package, put};
use crate::support::{Agent, Peer};

/// Package managers try once.
const ONCE: &str =
    "[packager.env]\nPIP_RETRIES = \"0\"\nNPM_CONFIG_FETCH_RETRIES = \"0\"\nCARGO_NET_RETRY = \"0\"\n";

/// A project in a network namespace of its own, where nothing is; needs root.
async fn alone(files: &[(&str, &str)]) -> (Agent, Peer, i32) {
    let launch = launch().through(&["unshare", "--net"]);
    put(&launch, &[(".replit", ONCE)]);
    put(&launch, files);
    let agent = launch.start().await;
    // Its port is in there, its socket is a file.
    let url = format!("unix:{}#token={}", agent.socket().display(), agent.token());
    let mut peer = Peer::connect(&url).await;
    let channel = peer.open("packager3", "packager").await;
    (agent, peer, channel)
}

/// A package cannot be added, found or looked up, for this `reason`; but for `made` the root is as it was.
async fn nothing_changes(files: &[(&str, &str)], name: &str, failed: &str, reason: &str, made: &[&str]) {
    let (agent, mut peer, channel) = alone(files).await;
    let before = names(&agent.root());
    let said = peer.refused(channel, add(name)).await;
    assert!(said.contains(failed), "{said}");
    for (file, content) in files {
        assert_eq!(fs::read_to_string(agent.root().join(file)).unwrap(), *content, "{file}");
    }
    let mut now = names(&agent.root());
    now.retain(|name| !made.contains(&name.as_str()));
    assert_eq!(now, before);
    for body in [
        Body::PackageInfo(PackageInfo { pkg: Some(package(name)) }),
        Body::PackageSearch(PackageSearch { query: name.to_owned() }),
    ] {
        let what = body.name();
        let said = peer.refused(channel, body).await;
        assert!(said.contains(reason) && !said.contains("no package"), "{what}: {said}");
    }
    peer.ping().await;
}

#[tokio::test]
async fn pip() {
    let files = [("requirements.txt", "# ours\nidna\n"), ("main.py", "")];
    nothing_changes(
        &files,
        "six",
        "/.venv/bin/python -m pip install: exit status 1",
        "name resolution",
        &[".venv"],
    )
    .await;
}

#[tokio::test]
async fn npm() {
    let manifest = "{\n    \"name\": \"x\",\n    \"dependencies\": {}\n}";
    let lock = "{\"name\": \"x\", \"lockfileVersion\": 3, \"requires\": true, \"packages\": {\"\": {\"name\": \"x\"}}}";
    let files = [("package.json", manifest), ("package-lock.json", lock)];
    nothing_changes(&files, "left-pad", "npm install: exit status 1", "getaddrinfo", &[]).await;
}

#[tokio::test]
async fn cargo() {
    let lock = "version = 4\n\n[[package]]\nname = \"x\"\nversion = \"0.1.0\"\n";
    let files = [("Cargo.toml", MANIFEST), ("Cargo.lock", lock), ("src/main.rs", "fn main() {}\n")];
    nothing_changes(&files, "itoa", "cargo add: exit status 101", "resolve host", &[]).await;
}
