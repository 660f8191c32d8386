//! Clients that ask and ask and never take an answer: not read any further, and in the end dropped, with what they
//! cost bounded all the while.

use std::time::Duration;

use pid1_sdk::api::{Exec, command::Body};

use crate::support::{Agent, BINARY, LATE, PING, Raw, SOON, eventually, size, within};

/// What one client that does not read may cost: its outbox up to the hard mark, and buffers.
const COST_BYTES: u64 = 16 << 20;

/// Sends the same bytes until they are not taken any more; how many were.
async fn flood(raw: &mut Raw, bytes: &[u8], at_most: usize) -> usize {
    let mut sent = 0;
    while sent < at_most && raw.write_for(bytes, Duration::from_millis(500)).await {
        sent += bytes.len();
    }
    sent
}

/// Whatever is asked: with answers left lying, no more is read, and after the stall timeout the session ends.
async fn never_reads(what: &str, request: Vec<u8>) {
    let agent = Agent::with(&["--stall-timeout", "1"]).await;
    let mut bystander = agent.client().await;
    let shell = bystander.shell("").await;
    bystander.ping().await;
    let (before, descriptors) = (agent.rss_bytes(), agent.descriptors());
    let mut raw = Raw::narrow(&agent).await;
    let burst = request.repeat((256 << 10) / request.len());
    let at_most = size(256 << 20, 1 << 30);
    let sent = flood(&mut raw, &burst, at_most).await;
    assert!(sent < at_most, "{what}: {sent} bytes were read although no answer was taken");
    assert!(
        agent.rss_bytes() < before + COST_BYTES,
        "{what}: {} -> {}",
        before >> 20,
        agent.rss_bytes() >> 20
    );
    bystander.shell_run(shell, "echo hello").await;
    eventually("it is dropped while it takes nothing", SOON, || agent.descriptors() == descriptors).await;
    eventually("the log says why", SOON, || agent.log().contains("took nothing for 1s")).await;
    bystander.ping().await;
    drop(raw);
}

#[tokio::test]
async fn who_asks_for_pongs_and_takes_none_is_dropped() {
    let ping = Raw::encoded(0, "r", Some(Body::Ping(Default::default())));
    never_reads("requests", Raw::masked(BINARY, &ping)).await;
}

#[tokio::test]
async fn who_pings_the_socket_and_takes_no_pong_is_dropped() {
    never_reads("WebSocket pings", Raw::masked(PING, &[7; 125])).await;
}

#[tokio::test]
async fn who_asks_on_channels_that_are_not_there_and_takes_no_error_is_dropped() {
    let input = Raw::encoded(4711, "r", Some(Body::Input("x".repeat(1000))));
    never_reads("errors", Raw::masked(BINARY, &input)).await;
}

#[tokio::test]
async fn who_opens_without_end_and_takes_no_answer_is_dropped() {
    let open = Raw::encoded(0, "r", Some(Raw::open_body("null", "", Default::default())));
    never_reads("opens", Raw::masked(BINARY, &open)).await;
}

/// Requests without a `ref` have no answers: the client may send as fast as the agent works, and costs nothing.
#[tokio::test]
async fn requests_that_want_no_answer_cost_nothing() {
    let agent = Agent::start().await;
    let mut bystander = agent.client().await;
    let mut raw = Raw::open(&agent).await;
    let null = raw.open_channel("null", "").await;
    let input = Raw::masked(BINARY, &Raw::encoded(null, "", Some(Body::Input("x".repeat(100)))));
    let burst = input.repeat(1000);
    let mut half = 0;
    let rounds = size(100, 5_000);
    for round in 0..rounds {
        assert!(raw.write_for(&burst, SOON).await);
        if round % 10 == 0 {
            bystander.ping().await;
        }
        if round == rounds / 2 {
            half = agent.rss_bytes();
        }
    }
    raw.ping("through").await;
    assert!(agent.rss_bytes() < half + crate::support::SLACK_BYTES);
}

/// An exec channel takes so many runs and refuses the rest, whoever reads.
#[tokio::test]
async fn the_queue_of_an_exec_is_bounded() {
    let agent = Agent::with(&["--stop-grace", "1"]).await;
    let mut raw = Raw::open(&agent).await;
    let exec = raw.open_channel("exec", "").await;
    let run = |args: &[&str]| {
        Some(Body::Exec(Exec { args: args.iter().map(|&arg| arg.into()).collect(), ..Exec::default() }))
    };
    raw.command(exec, "first", run(&["cat"])).await.unwrap();
    let queue: Vec<u8> = (0..1100)
        .flat_map(|n| Raw::masked(BINARY, &Raw::encoded(exec, &format!("{n}"), run(&["true"]))))
        .collect();
    raw.write(&queue).await.unwrap();
    for n in 1024..1100 {
        loop {
            let command = raw.next().await.unwrap();
            if !command.r#ref.is_empty() {
                assert_eq!(command.r#ref, n.to_string());
                let Some(Body::Error(error)) = command.body else { panic!("{command:?}") };
                assert!(error.contains("1024"), "the limit is named: {error}");
                break;
            }
        }
    }
    raw.command(exec, "", Some(Body::InputClose(()))).await.unwrap();
    let mut answered = 0;
    let all = async {
        while answered < 1025 {
            let command = raw.next().await.unwrap();
            if !command.r#ref.is_empty() {
                assert!(matches!(command.body, Some(Body::Ok(_))), "{command:?}");
                answered += 1;
            }
        }
    };
    within("all that were taken run", LATE, all).await;
}
