//! Large messages on their way in: what they hold together is bounded, and what is small goes past them.

use std::time::Duration;

use pid1_sdk::api::command::Body;

use crate::support::{Agent, BINARY, HEAVY, Raw, SLACK_BYTES, SOON, settled, within};

const MIB: usize = 1 << 20;

/// How long a socket that is not read may take to show it.
const UNREAD: Duration = Duration::from_secs(1);

/// A frame with a command of about `mib` MiB for a channel that is not there; cut before its last byte.
fn large(mib: usize, reference: &str) -> (Vec<u8>, Vec<u8>) {
    let mut frame =
        Raw::masked(BINARY, &Raw::encoded(77, reference, Some(Body::Input("x".repeat(mib * MIB)))));
    let last = frame.split_off(frame.len() - 1);
    (frame, last)
}

/// 256 MiB for all: two messages of 120 fit, a third waits unread until one of them is done.
#[tokio::test]
async fn large_messages_wait_for_their_share_and_small_ones_do_not() {
    let _alone = HEAVY.lock().await;
    let agent = Agent::start().await;
    let mut bystander = agent.client().await;
    let shell = bystander.shell("").await;
    let base = agent.rss_bytes();
    let mut held = Vec::new();
    for name in ["first", "second"] {
        let (most, last) = large(120, name);
        let mut raw = Raw::open(&agent).await;
        assert!(raw.write_for(&most, SOON).await, "the {name} fits");
        held.push((raw, last));
    }
    let (most, last) = large(120, "third");
    let mut third = Raw::open(&agent).await;
    assert!(!third.write_for(&most, UNREAD).await, "the third does not fit and is not read");
    // tungstenite may double a buffer as it grows; that is the most two messages may cost.
    assert!(agent.rss_bytes() < base + 2 * 256 * MIB as u64, "{} MiB", (agent.rss_bytes() - base) >> 20);
    let mut another = Raw::open(&agent).await;
    let megabyte = Some(Body::Input("x".repeat(MIB - 100)));
    assert_eq!(another.ask(77, "needs no share", megabyte).await.0.channel, 77);
    bystander.ping().await;
    bystander.shell_run(shell, "echo hello").await;
    // The third goes on when the first is done. How much of it was taken is not known, so another one takes its turn.
    third.reset();
    let (mut first, end) = held.remove(0);
    first.write(&end).await.unwrap();
    assert_eq!(first.next().await.unwrap().r#ref, "first");
    let mut fourth = Raw::open(&agent).await;
    assert!(fourth.write_for(&most, SOON).await, "there is room again");
    fourth.write(&last).await.unwrap();
    assert_eq!(fourth.next().await.unwrap().r#ref, "third");
}

/// A message that waits for its share arrives whole once there is room.
#[tokio::test]
async fn a_message_that_waited_arrives_whole() {
    let _alone = HEAVY.lock().await;
    let agent = Agent::start().await;
    let mut held = Vec::new();
    for name in ["first", "second"] {
        let (most, last) = large(125, name);
        let mut raw = Raw::open(&agent).await;
        assert!(raw.write_for(&most, SOON).await, "the {name} fits");
        held.push((raw, last));
    }
    let mut waiting = Raw::open(&agent).await;
    let (most, last) = large(60, "waiting");
    let finish = async {
        let (mut raw, last) = held.pop().unwrap();
        raw.write(&last).await.unwrap();
        assert_eq!(raw.next().await.unwrap().r#ref, "second");
    };
    let wait = async {
        waiting.write(&[&most[..], &last[..]].concat()).await.unwrap();
        waiting.next().await.unwrap()
    };
    let (answer, ()) = within("both are answered", SOON, async { tokio::join!(wait, finish) }).await;
    assert_eq!(answer.r#ref, "waiting");
}

#[tokio::test]
async fn a_trickler_slows_nobody_but_itself() {
    let agent = Agent::start().await;
    let mut bystander = agent.client().await;
    let shell = bystander.shell("").await;
    let (most, last) = large(3, "trickled");
    let mut tricklers = Vec::new();
    for _ in 0..20 {
        let mut raw = Raw::open(&agent).await;
        raw.write(&most[..2 * MIB]).await.unwrap();
        tricklers.push(raw);
    }
    let before = settled("all is read", SOON, || agent.rss_bytes() >> 20).await << 20;
    for piece in most[2 * MIB..2 * MIB + 2_000].chunks(100) {
        for raw in &mut tricklers {
            raw.write(piece).await.unwrap();
        }
        bystander.ping().await;
    }
    bystander.shell_run(shell, "echo hello").await;
    assert!(agent.rss_bytes() < before + SLACK_BYTES);
    for raw in &mut tricklers {
        raw.write(&[&most[2 * MIB + 2_000..], &last[..]].concat()).await.unwrap();
        assert_eq!(raw.next().await.unwrap().r#ref, "trickled");
    }
}

/// Whoever announces much and vanishes gives back what he held.
#[tokio::test]
async fn a_share_is_given_back_by_whoever_vanishes() {
    let _alone = HEAVY.lock().await;
    let agent = Agent::start().await;
    for round in 0..6 {
        let mut raw = Raw::open(&agent).await;
        raw.write(&Raw::head(BINARY, 127 * MIB as u64)).await.unwrap();
        raw.write(&vec![0; MIB]).await.unwrap();
        if round % 2 == 0 { raw.reset() } else { drop(raw) }
    }
    let mut raw = Raw::open(&agent).await;
    let (most, last) = large(120, "after them");
    assert!(raw.write_for(&most, SOON).await);
    raw.write(&last).await.unwrap();
    assert_eq!(raw.next().await.unwrap().r#ref, "after them");
}
