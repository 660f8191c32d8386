//! As a command behaves that people start from scripts, in the background, and in front of readers who stop reading.

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;

use super::{exec, runs, signal, started, text};
use crate::support::{Agent, SOON, binary, eventually};

/// Whoever starts it with `nohup` wants it to go on.
#[tokio::test]
async fn a_signal_that_was_ignored_stays_ignored() {
    let agent = Agent::start().await;
    let script = "trap '' HUP; exec \"$0\" exec \"$1\" -- sh -c 'echo ready; read line; echo \"<$line>\"'";
    let mut shell = Command::new("sh");
    shell.args(["-c", script]).arg(binary()).arg(agent.url()).stdin(Stdio::piped());
    let mut child = started(shell);
    signal(&child, Signal::SIGHUP);
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"went on\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{:?}", output.status);
    assert_eq!(text(&output.stdout), "<went on>\n");
}

#[tokio::test]
async fn a_loop_keeps_its_own_input() {
    let agent = Agent::start().await;
    let script =
        "printf 'a\\nb\\nc\\n' | while read -r line; do \"$0\" exec -n \"$1\" -- cat; echo \"$line\"; done";
    let output = Command::new("sh").args(["-c", script]).arg(binary()).arg(agent.url()).output().unwrap();
    assert_eq!(text(&output.stdout), "a\nb\nc\n", "{}", text(&output.stderr));
}

/// The command is gone at the first signal; then it is the client that waits for a reader who stands still.
#[tokio::test]
async fn a_reader_who_stands_still_keeps_nobody_from_ending_it() {
    let agent = Agent::start().await;
    let mut child =
        exec(agent.url(), &[], &["yes"]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    runs(&agent, "yes").await;
    let mut status = None;
    eventually("it ends", SOON, || {
        signal(&child, Signal::SIGINT);
        status = child.try_wait().unwrap();
        status.is_some()
    })
    .await;
    let status = status.unwrap();
    assert_eq!((status.code(), status.signal()), (Some(130), None));
    eventually("nothing is left", SOON, || agent.programs().is_empty()).await;
}
