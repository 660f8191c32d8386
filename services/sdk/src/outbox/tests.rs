//! The promises of the outbox, each as one test.

use std::time::Duration;

use super::*;
use futures_util::FutureExt;

const A: ChannelId = ChannelId(1);
const B: ChannelId = ChannelId(2);

fn text(bytes: &'static str) -> Bytes {
    Bytes::from_static(bytes.as_bytes())
}

fn bulk(size_bytes: usize) -> Bytes {
    Bytes::from(vec![b'b'; size_bytes])
}

/// Everything queued now, in sending order.
async fn drain(outbox: &Outbox) -> Vec<Bytes> {
    let (mut batch, mut all) = (Batch::default(), Vec::new());
    while outbox.queued_bytes() > 0 {
        assert!(outbox.next_batch(&mut batch).await);
        all.extend(batch.frames.iter().map(|frame| frame.bytes.clone()));
        outbox.written(&mut batch);
    }
    all
}

#[tokio::test]
async fn nothing_goes_out_on_a_channel_before_or_after_its_life() {
    let outbox = Outbox::new(1024);
    assert!(!outbox.push(A, text("early")));
    outbox.open_lane(A, text("opened"));
    assert!(outbox.push(A, text("hello")));
    outbox.cut_lane(A, text("closed"));
    assert!(!outbox.push(A, text("late")));
    assert_eq!(drain(&outbox).await, ["opened", "closed"], "what was queued at its own close is dropped");
}

#[tokio::test]
async fn a_channel_that_others_end_says_everything_before_its_farewell() {
    let outbox = Outbox::new(1024);
    outbox.open_lane(A, text("opened"));
    outbox.push(A, bulk(limits::SMALL_LANE_BYTES * 2));
    outbox.push(A, text("last"));
    outbox.close_lane(A, text("closed"));
    assert!(!outbox.push(A, text("late")));
    outbox.push_behind(A, text("it is closed"));
    let order = drain(&outbox).await;
    assert_eq!(order[0], "opened");
    assert_eq!(order[2..], ["last", "closed", "it is closed"]);
    outbox.open_lane(B, text("opened"));
    outbox.close_lane(B, text("closed"));
    assert_eq!(drain(&outbox).await, ["opened", "closed"], "with nothing queued");
}

#[tokio::test]
async fn what_is_said_in_one_turn_goes_out_together() {
    let outbox = Outbox::new(1024);
    let mut batch = Batch::default();
    {
        let mut next = std::pin::pin!(outbox.next_batch(&mut batch));
        assert_eq!(next.as_mut().now_or_never(), None, "there is nothing yet");
        outbox.push(ChannelId::CONTROL, text("one"));
        assert_eq!(next.as_mut().now_or_never(), None, "whoever is at work goes first");
        outbox.push(ChannelId::CONTROL, text("two"));
        assert!(next.await);
    }
    assert_eq!(batch.frames.len(), 2);
}

#[tokio::test]
async fn small_goes_before_bulk_and_order_is_kept_within_a_channel() {
    let outbox = Outbox::new(1 << 20);
    outbox.open_lane(A, text("open a"));
    outbox.open_lane(B, text("open b"));
    let flood: Vec<Bytes> = (0..4).map(|i| bulk(60_000 + i)).collect();
    for frame in &flood {
        outbox.push(A, frame.clone());
    }
    outbox.push(B, text("echo 1"));
    outbox.push(B, text("echo 2"));
    outbox.push(ChannelId::CONTROL, text("pong"));
    outbox.push_framed(text("ping 1"));
    outbox.push_framed(text("ping 2"));
    let order = drain(&outbox).await;
    assert_eq!(order[..7], ["ping 1", "ping 2", "open a", "open b", "pong", "echo 1", "echo 2"]);
    assert_eq!(order[7..], flood[..]);
}

#[tokio::test]
async fn two_floods_take_turns() {
    let outbox = Outbox::new(1 << 20);
    for channel in [A, B] {
        outbox.open_lane(channel, text("open"));
        for _ in 0..3 {
            outbox.push(channel, bulk(30_000 + channel.0 as usize));
        }
    }
    let lengths: Vec<usize> = drain(&outbox).await[2..].iter().map(Bytes::len).collect();
    assert_eq!(lengths, [30_001, 30_002, 30_001, 30_002, 30_001, 30_002]);
}

#[tokio::test]
async fn past_the_hard_mark_the_session_is_given_up_and_its_memory_freed() {
    let outbox = Outbox::new(1024);
    outbox.open_lane(A, text("open"));
    drain(&outbox).await;
    assert!(outbox.push(A, bulk(limits::OUTBOX_HARD_BYTES * 2)), "one message alone may exceed the bound");
    assert_eq!(outbox.ended(), None);
    outbox.push(A, text("one more"));
    assert!(matches!(outbox.ended(), Some(Ended::TooSlow(_))));
    assert_eq!(outbox.queued_bytes(), 0);
    assert!(!outbox.next_batch(&mut Batch::default()).await);
    assert!(!outbox.push(A, text("later")));
}

#[tokio::test]
async fn leaving_a_channel_with_much_queued_makes_room_and_never_ends_the_session() {
    let outbox = Outbox::new(0);
    outbox.open_lane(A, text("open"));
    assert!(outbox.push(A, bulk(limits::OUTBOX_HARD_BYTES - 2 * limits::FRAME_COST_BYTES - 8)));
    outbox.cut_lane(A, text("closed"));
    assert_eq!(outbox.ended(), None);
    assert_eq!(drain(&outbox).await, ["open", "closed"]);
}

#[tokio::test]
async fn an_orderly_close_sends_what_is_queued_first() {
    let outbox = Outbox::new(1024);
    outbox.push(ChannelId::CONTROL, text("last words"));
    outbox.end(Ended::Close { code: 1000, reason: "bye".into() });
    outbox.end(Ended::Gone);
    assert!(!outbox.push(ChannelId::CONTROL, text("too late")));
    assert!(matches!(outbox.ended(), Some(Ended::Close { code: 1000, .. })), "the first reason stays");
}

#[tokio::test]
async fn waiting_for_room_ends_when_the_writer_has_written_and_when_the_session_is_gone() {
    let outbox = Outbox::new(1 << 20);
    outbox.push(ChannelId::CONTROL, bulk(1000));
    let waiting = {
        let outbox = outbox.clone();
        async move { outbox.until_at_most(10).await }
    };
    let (_, ()) = tokio::join!(waiting, async {
        tokio::task::yield_now().await;
        assert_eq!(drain(&outbox).await.len(), 1);
    });
    outbox.push(ChannelId::CONTROL, bulk(1000));
    let gone = outbox.clone();
    let (waited, ()) =
        tokio::join!(tokio::time::timeout(Duration::from_secs(5), outbox.until_at_most(10)), async {
            tokio::task::yield_now().await;
            gone.end(Ended::Gone);
        });
    assert!(waited.is_ok());
}

#[tokio::test]
async fn a_batch_is_bounded_in_frames_and_bytes() {
    let outbox = Outbox::new(1 << 20);
    for _ in 0..100 {
        outbox.push(ChannelId::CONTROL, text("x"));
    }
    let mut batch = Batch::default();
    assert!(outbox.next_batch(&mut batch).await);
    assert_eq!(batch.frames.len(), limits::BATCH_FRAMES);
    outbox.written(&mut batch);
    assert_eq!(drain(&outbox).await.len(), 100 - limits::BATCH_FRAMES);
}
