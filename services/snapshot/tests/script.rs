//! The service as a script of what members send and get.

use pid1_sdk::Role;
use pid1_sdk::api::{FsLock, FsSnapshot, Ok as Done, command::Body};
use pid1_sdk::channel::Leave;
use pid1_sdk::testing::{TestChannel, conformance};
use pid1_snapshot::Snapshot;

const OK: Body = Body::Ok(Done {});
const SAVE: Body = Body::FsSnapshot(FsSnapshot {});

fn take(name: &str) -> Body {
    Body::FsTakeLock(FsLock { name: name.into() })
}

fn release(name: &str) -> Body {
    Body::FsReleaseLock(FsLock { name: name.into() })
}

fn error(text: &str) -> Body {
    Body::Error(text.into())
}

#[tokio::test]
async fn a_lock_has_one_holder() {
    let channel = TestChannel::open::<Snapshot>(Some("snapshot"));
    let mut one = channel.join(Role::Editor).await;
    let mut two = channel.join(Role::Editor).await;
    assert_eq!(one.ask(SAVE).await, OK);
    assert_eq!(one.ask(take("install")).await, OK);
    let held = error("snapshot: the lock install is held by session 2");
    assert_eq!(one.ask(take("install")).await, held);
    assert_eq!(two.ask(take("install")).await, held);
    let others = "snapshot: the lock install is not yours to release, it is held by session 2";
    assert_eq!(two.ask(release("install")).await, error(others));
    assert_eq!(two.ask(take("another")).await, OK);
    assert_eq!(one.ask(release("install")).await, OK);
    assert_eq!(one.ask(release("install")).await, error("snapshot: the lock install is not held"));
    assert_eq!(one.ask(take("")).await, error("snapshot: the name of a lock has 1 to 256 bytes"));
}

#[tokio::test]
async fn a_snapshot_waits_for_locks_and_those_end_with_their_sessions() {
    let channel = TestChannel::open::<Snapshot>(Some("snapshot"));
    let holder = channel.join(Role::Editor).await;
    let mut other = channel.join(Role::Editor).await;
    holder.send(take("half done")).await;
    let gone = async {
        while channel.engine().snapshots().holder("half done").is_none() {
            tokio::task::yield_now().await;
        }
        holder.leave(Leave::Vanish).await;
    };
    // Asked for while the lock is held: it was sent before.
    let (saved, ()) = tokio::join!(other.ask(SAVE), gone);
    assert_eq!(saved, OK);
    assert_eq!(channel.engine().snapshots().holder("half done"), None);
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_that_is_held_off_for_too_long_says_by_whom() {
    let channel = TestChannel::open::<Snapshot>(None);
    let mut member = channel.join(Role::Editor).await;
    assert_eq!(member.ask(take("install")).await, OK);
    assert_eq!(member.ask(take("move")).await, OK);
    let engine = channel.engine();
    let saved = engine.snapshots().save(engine.workspace(), engine.runtimes()).await;
    let text = "snapshot: held off for 60s by install (session 2), move (session 2); try again when that is released";
    assert_eq!(saved.unwrap_err().to_string(), text);
}

#[tokio::test]
async fn it_keeps_the_promises_of_every_service() {
    conformance::<Snapshot>(&[]).await;
}
