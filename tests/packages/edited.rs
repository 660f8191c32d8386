//! Somebody edits the specfile while a change is under way that then fails.

use std::fs;

use super::registry::{CRATE, Registry};
use super::{MANIFEST, add, of_rust, text};
use crate::support::{SOON, eventually, within};

#[tokio::test]
async fn an_edit_during_a_change_that_fails_is_kept_beside() {
    let registry = Registry::start();
    let agent = of_rust(&registry).start().await;
    let mut peer = agent.client().await;
    let channel = peer.open("packager3", "packager").await;
    let asking = tokio::spawn(async move {
        let said = peer.refused(channel, add(CRATE)).await;
        (peer, said)
    });
    eventually("cargo waits for the crate", SOON, || registry.downloads() > 0).await;
    let manifest = agent.root().join("Cargo.toml");
    let edited = format!("{}# edited\n", fs::read_to_string(&manifest).unwrap());
    assert!(edited.contains(CRATE));
    fs::write(&manifest, &edited).unwrap();
    registry.refuse();
    let (mut peer, said) = within("an answer", SOON, asking).await.unwrap();
    assert!(said.starts_with("cargo fetch: exit status 101: error: "), "{said}");
    assert_eq!(text(manifest).as_deref(), Some(MANIFEST));
    assert_eq!(text(agent.root().join("Cargo.lock")), None);
    let kept = agent.state().join("replaced/Cargo.toml.1");
    assert_eq!(text(kept.clone()), Some(edited));
    // All is said before the answer.
    let told = peer.output_until(channel, "Cargo.lock.2\n").await;
    let line =
        format!("Cargo.toml is as it was before; what stood there instead is kept as {}\n", kept.display());
    assert!(told.contains(&line), "{told}");
}
