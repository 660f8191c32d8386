//! Frames and messages that break the rules: each costs what the rule says, and nobody but the sender.

use pid1_sdk::api::command::Body;

use crate::support::{
    Agent, BINARY, CLOSE, FINAL, PING, PONG, Raw, SLACK_BYTES, SOON, TEXT, eventually, size, wrapped,
};

/// Ends the connection with a close frame of this code; whoever else is connected notices nothing.
async fn costs_the_connection(agent: &Agent, what: &str, code: u16, bytes: &[u8]) {
    let mut bystander = agent.client().await;
    let mut raw = Raw::open(agent).await;
    raw.write(bytes).await.unwrap();
    let (got, reason) = raw.end().await.unwrap_or_else(|| panic!("{what}: no close frame"));
    assert_eq!(got, code, "{what}: {reason}");
    assert!(!reason.is_empty(), "{what}: the client is told why");
    bystander.ping().await;
}

#[tokio::test]
async fn broken_framing_costs_the_connection_that_did_it() {
    let agent = Agent::start().await;
    let ping = Raw::encoded(0, "r", Some(Body::Ping(Default::default())));
    let unmasked = [&[BINARY, ping.len() as u8][..], &ping].concat();
    let opened = Raw::masked(BINARY & !FINAL, b"a");
    for (what, bytes) in [
        ("an unmasked frame", unmasked),
        ("reserved bit 1", Raw::masked(BINARY | 0x40, &ping)),
        ("reserved bit 2", Raw::masked(BINARY | 0x20, &ping)),
        ("reserved bit 3", Raw::masked(BINARY | 0x10, &ping)),
        ("a reserved data opcode", Raw::masked(FINAL | 0x03, &ping)),
        ("a reserved control opcode", Raw::masked(FINAL | 0x0b, &ping)),
        ("a control frame in fragments", Raw::masked(PING & !FINAL, b"")),
        ("a control frame of 126 bytes", Raw::masked(PING, &[0; 126])),
        ("a continuation of nothing", Raw::masked(FINAL, &ping)),
        ("a message within a message", [opened.clone(), Raw::masked(BINARY, &ping)].concat()),
        ("a close of one byte", Raw::masked(CLOSE, b"x")),
    ] {
        costs_the_connection(&agent, what, 1002, &bytes).await;
    }
}

#[tokio::test]
async fn what_says_nothing_is_ignored() {
    let agent = Agent::start().await;
    let mut raw = Raw::open(&agent).await;
    raw.frame(TEXT, b"hello").await.unwrap();
    raw.frame(TEXT, b"").await.unwrap();
    raw.frame(BINARY, b"").await.unwrap();
    raw.frame(BINARY & !FINAL, b"").await.unwrap();
    raw.frame(FINAL, b"").await.unwrap();
    raw.frame(PONG, b"nobody asked").await.unwrap();
    let before = raw.ping("still here").await;
    assert!(before.is_empty(), "{before:?}");
}

#[tokio::test]
async fn fragments_are_joined_with_pings_in_between() {
    let agent = Agent::start().await;
    let mut raw = Raw::open(&agent).await;
    let message = Raw::encoded(0, "in pieces", Some(Body::Ping(Default::default())));
    let (head, tail) = message.split_at(1);
    raw.frame(BINARY & !FINAL, head).await.unwrap();
    raw.frame(PING, b"meanwhile").await.unwrap();
    let pong = raw.next_frame().await.unwrap();
    assert_eq!((pong.first, &pong.payload[..]), (PONG, &b"meanwhile"[..]));
    for byte in &tail[..tail.len() - 1] {
        raw.frame(0, &[*byte]).await.unwrap();
    }
    raw.frame(FINAL, &tail[tail.len() - 1..]).await.unwrap();
    let answer = raw.next().await.unwrap();
    assert_eq!((answer.r#ref.as_str(), matches!(answer.body, Some(Body::Pong(_)))), ("in pieces", true));
}

#[tokio::test]
async fn the_limit_of_a_message_is_told_in_the_close() {
    let agent = Agent::with(&["--max-message", "2"]).await;
    let limit = 2 << 20;
    let whole = Raw::head(BINARY, limit + 1);
    let absurd = Raw::head(BINARY, i64::MAX as u64);
    let mib = vec![0; 1 << 20];
    let first = Raw::masked(BINARY & !FINAL, &mib);
    let fragments = [first, Raw::masked(0, &mib), Raw::masked(0, b"x")].concat();
    for (what, bytes) in [("one frame", whole), ("an absurd length", absurd), ("fragments", fragments)] {
        let mut raw = Raw::open(&agent).await;
        raw.write(&bytes).await.unwrap();
        let (code, reason) = raw.end().await.unwrap_or_else(|| panic!("{what}: no close frame"));
        assert_eq!(code, 1009, "{what}: {reason}");
        assert!(reason.contains(&limit.to_string()), "{what}: the limit is in the reason: {reason}");
    }
    // As large as may be is as good as any.
    let mut raw = Raw::open(&agent).await;
    let envelope = Raw::encoded(1, "big", Some(Body::Input("x".repeat(70_000)))).len() - 70_000;
    let text = "x".repeat(limit as usize - envelope - 1);
    let message = Raw::encoded(1, "big", Some(Body::Input(text)));
    assert!(message.len() <= limit as usize && message.len() + 4 > limit as usize, "{}", message.len());
    raw.frame(BINARY, &message).await.unwrap();
    assert_eq!(raw.next().await.unwrap().r#ref, "big");
}

#[tokio::test]
async fn the_tenth_undecodable_message_closes() {
    let agent = Agent::start().await;
    let mut raw = Raw::open(&agent).await;
    for round in 1..=10 {
        raw.frame(BINARY, b"\xff\xff\xff\xff").await.unwrap();
        // What is fine in between does not wipe the slate clean.
        if round < 10 {
            raw.command(0, "between", Some(Body::Ping(Default::default()))).await.unwrap();
        }
        let error = raw.next().await.unwrap();
        assert!(error.channel == 0 && error.r#ref.is_empty(), "{error:?}");
        assert!(matches!(error.body, Some(Body::ProtocolError(_))), "{error:?}");
        if round < 10 {
            assert_eq!(raw.next().await.unwrap().r#ref, "between");
        }
    }
    assert_eq!(raw.end().await.map(|(code, _)| code), Some(1007));
    agent.client().await.ping().await;
}

/// A command whose `input` is a lone surrogate, as JavaScript strings may hold it.
fn surrogate(channel: i32, reference: &str) -> Vec<u8> {
    let mut bytes = Raw::encoded(channel, "", None);
    bytes.extend([0xb2, 0x01, 3, 0xed, 0xa0, 0x80]);
    bytes.extend(Raw::encoded(0, reference, None));
    bytes
}

#[tokio::test]
async fn a_lone_surrogate_costs_its_message_only() {
    let agent = Agent::start().await;
    let mut raw = Raw::open(&agent).await;
    let null = raw.open_channel("null", "").await;
    for round in 0..25 {
        let reference = format!("s{round}");
        raw.frame(BINARY, &surrogate(null, &reference)).await.unwrap();
        let answer = raw.next().await.unwrap();
        assert_eq!((answer.channel, &answer.r#ref), (null, &reference));
        assert!(matches!(answer.body, Some(Body::Error(_))), "{answer:?}");
        raw.frame(BINARY, &surrogate(null, "")).await.unwrap();
        let told = raw.next().await.unwrap();
        assert!(told.channel == 0 && matches!(told.body, Some(Body::ProtocolError(_))), "{told:?}");
    }
    assert!(raw.ping("alive").await.is_empty());
}

#[tokio::test]
async fn a_connection_cut_anywhere_in_a_frame_leaves_nothing() {
    let agent = Agent::start().await;
    let mut bystander = agent.client().await;
    let frame = Raw::masked(BINARY, &Raw::encoded(0, "r", Some(Body::Input("x".repeat(300)))));
    bystander.ping().await;
    let descriptors = agent.descriptors();
    for cut in 0..16 {
        let mut raw = Raw::open(&agent).await;
        raw.write(&frame[..cut * frame.len() / 16]).await.unwrap();
        if cut % 2 == 0 { raw.reset() } else { drop(raw) }
    }
    eventually("all are gone", SOON, || agent.descriptors() <= descriptors).await;
    bystander.ping().await;
}

/// Pings are answered in order, with what they carry, and nobody else waits long for it.
#[tokio::test]
async fn a_flood_of_pings_is_answered() {
    let agent = Agent::start().await;
    let mut bystander = agent.client().await;
    let mut raw = Raw::open(&agent).await;
    let rounds = size(100, 1000);
    let mut half = 0;
    for round in 0..rounds {
        let burst: Vec<u8> = (0..200u32).flat_map(|n| Raw::masked(PING, &n.to_be_bytes())).collect();
        raw.write(&burst).await.unwrap();
        for n in 0..200u32 {
            let pong = raw.next_frame().await.unwrap();
            assert_eq!((pong.first, &pong.payload[..]), (PONG, &n.to_be_bytes()[..]));
        }
        if round == rounds / 2 {
            bystander.ping().await;
            half = agent.rss_bytes();
        }
    }
    assert!(agent.rss_bytes() < half + SLACK_BYTES);
    bystander.ping().await;
}

#[tokio::test]
async fn commands_nested_without_end_are_refused() {
    let agent = Agent::start().await;
    let mut raw = Raw::open(&agent).await;
    // A recording in an entry in a recording in a command...: what a decoder without a limit of depth dies of.
    let vcr_log = Body::VcrLog(Default::default()).number();
    let mut message = Vec::new();
    for _ in 0..5_000 {
        for field in [3, 1, vcr_log] {
            message = wrapped(field, &message);
        }
    }
    raw.frame(BINARY, &message).await.unwrap();
    let told = raw.next().await.unwrap();
    assert!(matches!(told.body, Some(Body::ProtocolError(_))), "{told:?}");
    agent.client().await.ping().await;
}
