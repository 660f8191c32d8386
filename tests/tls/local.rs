//! The socket in the state folder: for whom it is, and what is shown there.

use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::process::Command;

use super::{exec, pid1, refused, said, text};
use crate::support::{Agent, Launch};

#[tokio::test]
async fn with_a_token_or_without() {
    let agent = Agent::start().await;
    let socket = fs::symlink_metadata(agent.socket()).unwrap();
    assert!(socket.file_type().is_socket());
    assert_eq!(socket.permissions().mode() & 0o777, 0o600);
    let folder = fs::metadata(agent.socket().parent().unwrap()).unwrap();
    assert_eq!(folder.permissions().mode() & 0o077, 0);
    let url = format!("unix:{}", agent.socket().display());
    let with_token = format!("{url}#token={}", agent.token());
    let script = ["sh", "-c", "echo here; echo said >&2; exit 3"];
    let output = exec(&with_token, &[], &script).output().unwrap();
    assert_eq!((output.status.code(), &output.stdout[..]), (Some(3), &b"here\n"[..]), "{}", said(&output));
    assert_eq!(said(&output), "said\n");
    // Being the same user is enough only where that is said.
    refused(exec(&url, &[], &["true"]), agent.token(), &["the token is not accepted"]);
    let wrong = format!("{url}#token=a-token-of-nobody");
    refused(exec(&wrong, &[], &["true"]), "a-token-of-nobody", &["the token is not accepted"]);
    let trusting = Agent::with(&["--trust-local"]).await;
    let url = format!("unix:{}", trusting.socket().display());
    let output = exec(&url, &[], &["echo", "here"]).output().unwrap();
    assert_eq!(output.stdout, b"here\n", "{}", said(&output));
    let output = pid1(&["toast", "a word"]).env("PID1_URL", &url).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    // Who shows one means it.
    let wrong = format!("{url}#token=a-token-of-nobody");
    refused(exec(&wrong, &[], &["true"]), "a-token-of-nobody", &["the token is not accepted"]);
    // And on the network it is needed as ever.
    let url = format!("ws://{}/wsv2/none", trusting.address());
    refused(exec(&url, &[], &["true"]), trusting.token(), &["the token is not accepted"]);
    // For who speaks HTTP, too.
    let socket = trusting.socket();
    let curl = ["--silent", "--unix-socket", text(&socket), "--write-out", "%{response_code}"];
    let output = Command::new("curl").args(curl).arg("http://localhost/files/").output().unwrap();
    assert!(output.stdout.ends_with(b"200"), "{output:?}");
}

/// Cleartext there is for nobody else to read: it needs no certificate, and minds none.
#[tokio::test]
async fn beside_a_certificate() {
    let agent = super::secure_agent().await;
    let url = format!("unix:{}#token={}", agent.socket().display(), agent.token());
    let output = exec(&url, &[], &["echo", "here"]).output().unwrap();
    assert_eq!(output.stdout, b"here\n", "{}", said(&output));
}

#[tokio::test]
async fn what_a_killed_agent_has_left_is_replaced() {
    let mut agent = Launch::new().flags(&["--trust-local"]).start().await;
    let url = format!("unix:{}", agent.socket().display());
    let before = fs::symlink_metadata(agent.socket()).unwrap().modified().unwrap();
    agent.kill().await;
    assert!(agent.socket().exists());
    refused(exec(&url, &[], &["true"]), agent.token(), &["cannot connect to unix:", "is the agent running"]);
    let again = agent.launch().start().await;
    let output = exec(&url, &[], &["echo", "here"]).output().unwrap();
    assert_eq!(output.stdout, b"here\n", "{}", said(&output));
    assert_ne!(fs::symlink_metadata(again.socket()).unwrap().modified().unwrap(), before);
}

/// Its path may be longer than a socket's can be.
#[tokio::test]
async fn where_there_can_be_none() {
    let launch = Launch::new();
    let long = launch.home().join("x".repeat(120));
    let flags = ["--state-dir", text(&long)];
    let agent = launch.clone().flags(&flags).start().await;
    agent.client().await.ping().await;
    assert!(agent.log().contains("clients use the network"), "{}", agent.log());
    let (status, said) = launch.flags(&flags).flags(&["--trust-local"]).refused();
    assert!(!status.success(), "{said}");
}
