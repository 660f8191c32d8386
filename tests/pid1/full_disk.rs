//! A full disk below the state folder: the agent serves, so that somebody can come and make room.

use nix::sys::signal::Signal;
use pid1_sdk::api::{command::Body, process_exited::Status};

use super::first::{First, exec};
use crate::support::{Launch, run_program};

/// A disk of the agent's own, without a byte of room.
const FILL: &str = "mkdir -p \"$DISK\"; mount -t tmpfs -o size=64k none \"$DISK\"; cat /dev/zero > \"$DISK/fill\" 2> /dev/null
    exec \"$0\" \"$@\"";

/// More than a log keeps in memory.
const OUTPUT_BYTES: usize = 12 << 20;

fn launch() -> Launch {
    let launch = Launch::new();
    let disk = launch.home().join("state");
    launch.env("DISK", disk.to_str().unwrap())
}

#[tokio::test]
async fn on_a_full_disk_programs_run() {
    let launch = launch().flags(&["--", "sh", "-c", "echo main; exec sleep 1000"]);
    let mut first = First::of(launch.through(&["unshare", "--mount", "sh", "-c", FILL])).await;
    let mut client = first.agent.client().await;
    let shell = client.shell("").await;
    let shown =
        client.shell_run(shell, "df --output=avail $DISK; cat /dev/null > $DISK/x; echo x > $DISK/y").await;
    assert!(shown.contains("No space left"), "{shown}");
    let channel = client.open("exec", "").await;
    assert_eq!(client.ask(channel, exec(&["true"])).await, Body::Ok(Default::default()));
    let mut seen = 0;
    let script = format!("head -c {OUTPUT_BYTES} /dev/zero; exit 3");
    let exited = run_program(&mut client, &["sh", "-c", &script], b"", |_, bytes| seen += bytes.len()).await;
    assert_eq!((exited.status, seen), (Some(Status::Code(3)), OUTPUT_BYTES));
    let log = first.agent.log();
    assert!(log.contains("No space left") && log.contains("WARN"), "the operator is told: {log}");
    // Room is made from inside.
    client.shell_run(shell, "rm $DISK/fill && echo x > $DISK/y && echo ro''om").await;
    first.signal(Signal::SIGTERM);
    assert_eq!(first.agent.ended().await.code(), Some(143));
}
