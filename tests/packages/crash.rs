//! The agent's end in the middle of a change: the next one finds the project as it was before, and goes on.

use std::fs;
use std::time::Duration;

use nix::sys::signal::Signal;
use pid1_sdk::workspace::is_temporary;

use super::registry::{CRATE, Registry};
use super::{MANIFEST, OK, add, list, names, of_rust, text};
use crate::support::{Agent, Launch, Rng, SOON, eventually, named, size, stopped};

/// Of a project in which nothing was changed.
const FILES: [&str; 3] = [".cargo", "Cargo.toml", "src"];

/// When it comes, of the rounds that are not at random.
const MOMENTS: [&str; 3] =
    ["the change has begun", "cargo has written Cargo.toml", "cargo waits for the crate"];

/// After a request for a crate that does not come, at this moment of [`MOMENTS`], or at any.
async fn in_the_middle(launch: Launch, registry: &Registry, moment: Option<usize>, rng: &mut Rng) -> Agent {
    let agent = launch.start().await;
    let before = registry.downloads();
    let mut peer = agent.client().await;
    let channel = peer.open("packager3", "packager").await;
    peer.send(channel, add(CRATE)).await;
    let manifest = agent.root().join("Cargo.toml");
    let Some(moment) = moment else {
        tokio::time::sleep(Duration::from_millis(rng.below(1500) as u64)).await;
        return agent;
    };
    eventually(MOMENTS[moment], SOON, || match moment {
        0 => agent.state().join("rollback").exists(),
        1 => fs::read_to_string(&manifest).unwrap().contains(CRATE),
        _ => registry.downloads() > before,
    })
    .await;
    agent
}

/// Ends it as nothing but the kernel can, when all it has started is on its record: of a program that was started a moment
/// before, no next agent knows. Whether the change had begun.
async fn kill(agent: &mut Agent) -> bool {
    let known = || {
        agent.signal(Signal::SIGSTOP);
        if !stopped(agent.pid()) {
            return false;
        }
        let record = text(agent.state().join("processes")).unwrap();
        let on_record = |pid: &i32| record.contains(&format!("start {pid} "));
        let known = named(&agent.programs(), "cargo ").iter().all(on_record);
        if !known {
            agent.signal(Signal::SIGCONT);
        }
        known
    };
    eventually("all programs are on record", SOON, known).await;
    let begun = agent.state().join("rollback").exists();
    agent.kill().await;
    begun
}

/// What is true of the workspace as soon as an agent serves.
fn as_before(agent: &Agent) {
    let manifest = text(agent.root().join("Cargo.toml"));
    assert_eq!(manifest.as_deref(), Some(MANIFEST), "{}", agent.log());
    assert_eq!(names(&agent.root()), FILES);
    assert!(named(&agent.programs(), "cargo").is_empty(), "a cargo lives on");
    assert!(!agent.state().join("rollback").exists(), "the change is decided");
}

/// The crate can be added, now that it comes.
async fn goes_on(agent: &Agent, registry: &Registry) {
    registry.give();
    let mut peer = agent.client().await;
    let channel = peer.open("packager3", "packager").await;
    assert_eq!(peer.ask(channel, add(CRATE)).await, OK);
    assert_eq!(list(&mut peer, channel).await, [CRATE]);
    assert!(text(agent.root().join("Cargo.lock")).unwrap().contains(CRATE));
    assert_eq!(names(&agent.root()), [".cargo", "Cargo.lock", "Cargo.toml", "src"]);
}

#[tokio::test]
async fn killed_in_the_middle_the_next_agent_puts_the_files_back() {
    let registry = Registry::start();
    let mut rng = Rng::seeded("packages");
    let mut launch = of_rust(&registry);
    for round in 0..size(MOMENTS.len(), 100) {
        let moment = Some(round).filter(|round| *round < MOMENTS.len());
        let mut agent = in_the_middle(launch, &registry, moment, &mut rng).await;
        let begun = kill(&mut agent).await;
        let changed = text(agent.root().join("Cargo.toml")).as_deref() != Some(MANIFEST);
        if moment == Some(2) {
            assert!(!named(&agent.programs(), "cargo").is_empty(), "cargo has not noticed");
        }
        assert!(begun || !changed, "there is no change before its journal");
        let mut next = agent.launch().start().await;
        if !begun {
            // Who is cut off in making a copy leaves one, as with any write.
            for name in names(&next.root()).iter().filter(|name| is_temporary(name.as_ref())) {
                fs::remove_file(next.root().join(name)).unwrap();
            }
        }
        as_before(&next);
        if changed {
            let told = |line: &str| line.contains("WARN") && line.contains("Cargo.toml");
            eventually("the operator is told", SOON, || next.log().lines().any(told)).await;
        }
        // Once.
        next.kill().await;
        let mut last = next.launch().start().await;
        as_before(&last);
        assert!(!last.log().contains("put back"), "{}", last.log());
        last.kill().await;
        launch = last.launch();
    }
    goes_on(&launch.start().await, &registry).await;
}

#[tokio::test]
async fn asked_to_end_in_the_middle_it_puts_the_files_back() {
    let registry = Registry::start();
    let mut rng = Rng::seeded("packages");
    let mut launch = of_rust(&registry);
    for round in 0..size(MOMENTS.len(), 100) {
        let moment = Some(round).filter(|round| *round < MOMENTS.len());
        let mut agent = in_the_middle(launch, &registry, moment, &mut rng).await;
        agent.signal(Signal::SIGTERM);
        assert!(agent.ended().await.success());
        as_before(&agent);
        launch = agent.launch();
    }
    let agent = launch.start().await;
    as_before(&agent);
    assert!(!agent.log().contains("put back"), "{}", agent.log());
    goes_on(&agent, &registry).await;
}
