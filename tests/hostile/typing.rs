//! Much input for programs that read it, and for programs that do not.

use std::time::Duration;

use pid1_sdk::api::{PtyConfig, command::Body};

use crate::support::{
    Agent, BINARY, HEAVY, LATE, Peer, Raw, SLACK_BYTES, SOON, eventually, named, output_of, settled, within,
};

const MIB: usize = 1 << 20;

/// Lines of 64 bytes with their number, so that a loss shows where it is.
fn lines(bytes: usize) -> String {
    (0..bytes / 64).map(|n| format!("{n:063}\n")).collect()
}

async fn pipe_mode(client: &mut Peer, shell: i32) {
    let done = client.ask(shell, Body::PtyConfig(PtyConfig { pipe_mode: true })).await;
    assert_eq!(done, Body::Ok(Default::default()));
}

#[tokio::test]
async fn two_megabytes_pasted_arrive_whole() {
    let _alone = HEAVY.lock().await;
    let agent = Agent::start().await;
    let mut client = agent.client().await;
    let shell = client.shell("").await;
    let pasted = lines(2 * MIB);
    client.type_in(shell, &format!("head -c {} > pasted; echo do''ne\n", pasted.len())).await;
    // Not before: what edits the command line has modes of its own.
    eventually("it reads", SOON, || !named(&agent.programs(), "head -c").is_empty()).await;
    pipe_mode(&mut client, shell).await;
    for piece in pasted.as_bytes().chunks(100_000) {
        client.type_in(shell, std::str::from_utf8(piece).unwrap()).await;
    }
    client.output_until(shell, "done").await;
    let arrived = std::fs::read_to_string(agent.root().join("pasted")).unwrap();
    assert!(arrived == pasted, "{} of {} bytes", arrived.len(), pasted.len());
}

/// The same in one message, through `cat` and back.
#[tokio::test]
async fn two_megabytes_in_one_message_come_back() {
    let _alone = HEAVY.lock().await;
    let agent = Agent::start().await;
    let mut client = agent.client().await;
    let shell = client.shell("").await;
    client.type_in(shell, "cat\n").await;
    eventually("it reads", SOON, || named(&agent.programs(), "cat").len() == 1).await;
    pipe_mode(&mut client, shell).await;
    client.type_in(shell, "begin\n").await;
    client.output_until(shell, "begin\n").await;
    let pasted = lines(2 * MIB);
    client.type_in(shell, &pasted).await;
    let mut back = String::new();
    client
        .until("all of it comes back", |command| {
            back += output_of(command, shell).unwrap_or_default();
            back.len() >= pasted.len()
        })
        .await;
    assert!(back == pasted, "{} bytes back", back.len());
}

#[tokio::test]
async fn two_megabytes_for_somebody_asleep_hurt_nobody() {
    let _alone = HEAVY.lock().await;
    let agent = Agent::start().await;
    let mut bystander = agent.client().await;
    let other = bystander.shell("").await;
    let mut shared = agent.client().await;
    let shell = shared.shell("shared").await;
    let mut raw = Raw::open(&agent).await;
    assert_eq!(raw.open_channel("shell", "shared").await, shell);
    raw.command(shell, "", Some(Body::Input("stty raw -echo; sleep 8601\n".into()))).await.unwrap();
    eventually("it sleeps", SOON, || !named(&agent.programs(), "sleep 8601").is_empty()).await;
    let before = agent.rss_bytes();
    let typed = Raw::masked(BINARY, &Raw::encoded(shell, "", Some(Body::Input(lines(64 << 10)))));
    let mut taken = 0;
    while taken < 2 * MIB && raw.write_for(&typed, Duration::from_millis(300)).await {
        taken += typed.len();
    }
    for _ in 0..5 {
        bystander.ping().await;
        bystander.shell_run(other, "echo hello").await;
        shared.ping().await;
    }
    let held = settled("memory", SOON, || agent.rss_bytes() >> 20).await << 20;
    assert!(held < before + 2 * SLACK_BYTES, "{} -> {}", before >> 20, held >> 20);
    // The session that typed is held back at most, and whoever shares the shell can still leave and come back.
    let close = pid1_sdk::api::CloseChannel { id: shell, ..Default::default() };
    within("leaving works", LATE, shared.ask(0, Body::CloseChan(close))).await;
    assert_eq!(shared.open("shell", "shared").await, shell);
    raw.reset();
    bystander.shell_run(other, "echo still here").await;
}

/// Whoever types while a program does not read waits; a signal from somebody else ends the wait, and what was typed
/// before goes where it belongs.
#[tokio::test]
async fn input_for_an_exec_that_does_not_read_waits_and_is_not_lost() {
    let _alone = HEAVY.lock().await;
    let agent = Agent::start().await;
    let mut raw = Raw::open(&agent).await;
    let exec = raw.open_channel("exec", "").await;
    let script = "while [ ! -e go ]; do sleep 0.02; done; exec cat > taken";
    let args = ["sh", "-c", script].map(str::to_owned).to_vec();
    let run = pid1_sdk::api::Exec { args, ..Default::default() };
    raw.command(exec, "run", Some(Body::Exec(run))).await.unwrap();
    let all = lines(4 * MIB);
    let mut messages: Vec<u8> = Vec::new();
    for piece in all.as_bytes().chunks(64 << 10) {
        let text = std::str::from_utf8(piece).unwrap().to_owned();
        messages.extend(Raw::masked(BINARY, &Raw::encoded(exec, "", Some(Body::Input(text)))));
    }
    messages.extend(Raw::masked(BINARY, &Raw::encoded(exec, "", Some(Body::InputClose(())))));
    std::fs::write(agent.root().join("go"), "").unwrap();
    assert!(raw.write_for(&messages, SOON).await);
    let answer = loop {
        let command = raw.next().await.unwrap();
        if !command.r#ref.is_empty() {
            break command;
        }
    };
    assert_eq!((answer.r#ref.as_str(), answer.body), ("run", Some(Body::Ok(Default::default()))));
    let taken = std::fs::read_to_string(agent.root().join("taken")).unwrap();
    assert!(taken == all, "{} of {} bytes", taken.len(), all.len());
}
