//! A program's output as text events of a channel: what shells and execs show.
//!
//! One task per stream reads the process's log and reports to the service, never further ahead of the members than
//! they have room. So a program is held back by whoever must not lose anything, and by nobody else.

use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::api::command::Body;
use crate::channel::{Audience, Channel, Company, Member};
use crate::engine::Counters;
use crate::identity::SessionId;
use crate::limits;
use crate::process::{Hold, Item, OutputLog};
use crate::utf8::Utf8Carry;

/// Whom a program waits for.
#[derive(Clone, Debug)]
pub enum Policy {
    /// For every member: nothing is ever skipped.
    Lossless,
    /// For every member that keeps up; the others are skipped and brought back ([`Piece::CaughtUp`]).
    Terminal,
    /// The same where several channels show one program: for everybody who keeps up in any of them.
    Company(Arc<Company>),
}

/// What the relay reports, in order.
#[derive(Debug)]
pub enum Piece {
    /// Whole characters of output.
    Text {
        /// At most about [`limits::OUTPUT_CHUNK_BYTES`].
        text: String,
        /// The offset in the log right behind it.
        end: u64,
        /// Held while the service has not handled this piece: the relay reads at most two ahead.
        pace: OwnedSemaphorePermit,
    },
    /// A member that was skipped has taken everything queued for it; see [`Channel::resume_terminal`].
    CaughtUp(SessionId),
    /// The program has exited, and all that it wrote before has been reported. More may come from programs that it
    /// left behind.
    Settled,
    /// The stream has ended.
    End,
}

/// Reports `log` from its offset `from` to the service of `ch`, until it ends or the channel does.
pub fn relay<E: Send + 'static>(
    ch: &Channel<E>,
    log: &OutputLog,
    from: u64,
    policy: Policy,
    wrap: impl Fn(Piece) -> E + Send + Sync + 'static,
) {
    let mut reader = log.reader(from, Hold::Back);
    let events = ch.events();
    let audience = ch.audience().clone();
    let engine = ch.engine().clone();
    ch.spawn(async move {
        let paces = Arc::new(Semaphore::new(2));
        let mut carry = Utf8Carry::new();
        let mut returning = FuturesUnordered::new();
        loop {
            for member in room(&audience, &policy).await {
                Counters::add(&engine.counters().members_skipped);
                returning.push(async move {
                    member.outbox().until_at_most(0).await;
                    member.session()
                });
            }
            let Ok(pace) = paces.clone().acquire_owned().await else { return };
            // Cancel-safe: a read that loses the race has taken nothing.
            let item = tokio::select! {
                item = reader.next(limits::OUTPUT_CHUNK_BYTES) => item,
                Some(session) = returning.next(), if !returning.is_empty() => {
                    if events.send(wrap(Piece::CaughtUp(session))).await.is_err() {
                        return;
                    }
                    continue;
                }
            };
            let (text, then) = match item {
                Item::Chunk { offset, bytes } => {
                    let text = carry.push(&bytes);
                    let end = offset + bytes.len() as u64 - carry.held_bytes() as u64;
                    (Some((text, end)), None)
                }
                // The past that nobody held back is gone; what follows does not continue the held character.
                Item::Gap { to, .. } => (Some((carry.finish(), to)), None),
                // Whoever began the held character has exited: it will not be finished.
                Item::Settled => (Some((carry.finish(), reader.offset())), Some(Piece::Settled)),
                Item::End => (Some((carry.finish(), reader.offset())), Some(Piece::End)),
            };
            let ended = matches!(then, Some(Piece::End));
            let text =
                text.filter(|(text, _)| !text.is_empty()).map(|(text, end)| Piece::Text { text, end, pace });
            for piece in text.into_iter().chain(then) {
                if events.send(wrap(piece)).await.is_err() {
                    return;
                }
            }
            if ended {
                // Who is still being skipped must be brought back, although nothing more comes from here.
                while let Some(session) = returning.next().await {
                    if events.send(wrap(Piece::CaughtUp(session))).await.is_err() {
                        return;
                    }
                }
                return;
            }
        }
    });
}

async fn room(audience: &Audience, policy: &Policy) -> Vec<Member> {
    match policy {
        Policy::Lossless => {
            audience.room_for_all().await;
            Vec::new()
        }
        Policy::Terminal => audience.room_or_skip(None).await,
        Policy::Company(company) => audience.room_or_skip(Some(company)).await,
    }
}

/// The text with which a terminal member is brought back.
pub fn skipped_notice(skipped_bytes: u64) -> Body {
    let mib = skipped_bytes as f64 / (1 << 20) as f64;
    Body::Output(format!("\r\n[{mib:.1} MiB of output skipped: this connection did not keep up]\r\n"))
}
