//! The agent where it is not process 1: as the parent of orphans it ends what its programs left, and nothing else.

use nix::sys::signal::Signal;

use super::first::{daemon, run_script, witness};
use crate::support::{Launch, SOON, eventually, named};

#[tokio::test]
async fn daemons_end_with_the_agent_and_nobody_else_does() {
    let mut unrelated = std::process::Command::new("sleep").arg("8821").spawn().unwrap();
    // Whoever becomes the agent may have children already, and they children.
    let before = "sleep 8822 & (sleep 8823; true) & setsid sh -c 'sleep 8824; true' & exec \"$0\" \"$@\"";
    let launch = Launch::new().flags(&["--stop-grace", "1"]).through(&["bash", "-c", before]);
    let mut agent = launch.start().await;
    let runs = |agent: &crate::support::Agent, text: &str| !named(&agent.programs(), text).is_empty();
    let root = agent.root();
    let mut client = agent.client().await;
    run_script(&mut client, &witness("exec")).await;
    run_script(&mut client, &daemon("trap '' TERM; while :; do sleep 8825; done")).await;
    let shell = client.shell("").await;
    client.shell_run(shell, &witness("shell")).await;
    eventually("all daemons run", SOON, || {
        root.join("exec-up").exists() && root.join("shell-up").exists() && runs(&agent, "sleep 8825")
    })
    .await;
    for sleep in ["sleep 8822", "sleep 8823", "sleep 8824"] {
        assert!(runs(&agent, sleep), "{sleep}");
    }
    agent.signal(Signal::SIGTERM);
    assert_eq!(agent.ended().await.code(), Some(0));
    assert!(root.join("exec-told").exists() && root.join("shell-told").exists());
    let left = agent.programs();
    for sleep in ["sleep 8822", "sleep 8823", "sleep 8824"] {
        assert!(runs(&agent, sleep), "{sleep} survives");
    }
    // Two of them with their shells.
    assert_eq!(left.len(), 5, "and nobody else");
    let survived = unrelated.try_wait().unwrap().is_none();
    unrelated.kill().unwrap();
    unrelated.wait().unwrap();
    assert!(survived);
}
