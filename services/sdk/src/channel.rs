//! A channel: one running instance of a service, its members, and what the service may do to them.
//!
//! [`Channel`] is the service's side. The other side, held by the agent's router and sessions, is [`Handle`].
//! Between the two runs the actor, a task that feeds the service one command at a time.

mod actor;
mod audience;
mod greeting;
mod handle;
mod member;
mod membership;
mod ticket;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::api::command::Body;
use crate::engine::Engine;
use crate::identity::{ChannelId, Right, SessionId};
use crate::limits;
use crate::process::{Stdin, StdinError};
use crate::wire::{self, Target};

pub(crate) use actor::spawn;
pub use audience::{Audience, Company};
pub use handle::{ChannelSeed, Delivery, Handle, Undelivered};
pub use member::Member;
pub use membership::{Leave, Left, Membership, NotJoined};
pub use ticket::Ticket;

/// What a service sees of its own channel.
pub struct Channel<E> {
    id: ChannelId,
    name: Option<String>,
    engine: Arc<Engine>,
    audience: Arc<Audience>,
    membership: Arc<Membership>,
    events: mpsc::Sender<E>,
    tasks: TaskTracker,
    stop: CancellationToken,
    /// The command being answered, until a ticket or the actor takes it.
    asked: Option<Ticket>,
    /// What that command takes of its sender's memory.
    share: Share,
    /// No command is taken from the inbox until this is done.
    hold: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    ending: bool,
}

/// What a command takes of the memory that its sender may use. While this lives, the sender may send that much less.
#[derive(Debug, Default)]
pub struct Share {
    _held: Option<OwnedSemaphorePermit>,
}

/// A running timer of [`Channel::after`].
#[derive(Debug)]
pub struct Timer {
    _dropped: DropGuard,
}

impl<E: Send + 'static> Channel<E> {
    /// The channel's number, unique in the life of the agent.
    pub fn id(&self) -> ChannelId {
        self.id
    }

    /// The name under which others can attach; `None` for a channel that ends with its client.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The engine: processes, workspace, settings.
    pub fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    /// The members, shared with tasks that must know whether there is room for more output.
    pub fn audience(&self) -> &Arc<Audience> {
        &self.audience
    }

    /// Sends to one member; to nobody if it has left. Never waits, as all sending here: whoever sends much waits for room
    /// first ([`Audience::room_of`], [`Audience::room_for_all`]).
    pub fn send(&self, to: SessionId, body: Body) {
        if let Some(member) = self.audience.find(to) {
            member.send(self.id, body);
        }
    }

    /// Sends to every member; encoded once. Never skipped: a member that does not take it is dropped in the end.
    pub fn broadcast(&self, body: Body) {
        if !self.audience.is_empty() {
            self.audience.send_all(self.id, &self.encode(Target::All, body));
        }
    }

    /// Sends to every member but one; encoded once. They find that one's number, negative, in `Command.session`, as the
    /// protocol has it.
    pub fn broadcast_except(&self, except: SessionId, body: Body) {
        self.audience.send_except(self.id, except, &self.encode(Target::Except(except), body));
    }

    /// Sends terminal output to every member that keeps up; those who are being skipped miss it until
    /// [`resume_terminal`](Channel::resume_terminal).
    pub fn send_terminal(&self, text: String) {
        if !self.audience.is_empty() {
            let text_bytes = text.len() as u64;
            self.audience.send_terminal(self.id, &self.encode(Target::All, Body::Output(text)), text_bytes);
        }
    }

    /// Ends the skipping of a member that has caught up: how many bytes of text it missed, `None` if it was not
    /// being skipped (or has left).
    pub fn resume_terminal(&self, session: SessionId) -> Option<u64> {
        self.audience.resume(session)
    }

    /// This command is handled from now on.
    fn begin(&mut self, from: &Member, reference: String, share: Option<OwnedSemaphorePermit>) {
        self.asked = Some(Ticket::new(from.clone(), self.id, reference));
        self.share = Share { _held: share };
    }

    /// It has been handled. Its ticket, if nobody has taken it.
    fn handled(&mut self) -> Option<Ticket> {
        self.share = Share::default();
        self.asked.take()
    }

    fn encode(&self, target: Target, body: Body) -> Bytes {
        wire::encode(self.id, target, String::new(), body)
    }

    /// The duty to answer the command being handled, to be carried into a task. The method that takes it returns
    /// [`Reply::Later`](crate::service::Reply::Later). Outside of `command` it answers nobody.
    pub fn ticket(&mut self) -> Ticket {
        self.asked.take().unwrap_or_else(Ticket::nobody)
    }

    /// What the command being handled takes of its sender's memory: for a service that keeps what it carries for longer, so
    /// that nobody can make it keep more and more. Otherwise it is given back when the command has been handled.
    pub fn share(&mut self) -> Share {
        std::mem::take(&mut self.share)
    }

    /// Where this channel's tasks report. [`limits::EVENTS`] may wait there; then the tasks do.
    /// Sending fails once the channel has ended. Not for the methods of the service: they would wait for themselves.
    pub fn events(&self) -> mpsc::Sender<E> {
        self.events.clone()
    }

    /// Runs a task that ends with the channel at the latest: it is dropped where it waits. It must wait now and then, and
    /// whatever computes for long or blocks belongs into [`Runtimes::spawn_blocking`](crate::runtimes::Runtimes::spawn_blocking).
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        let task = async move {
            stop.run_until_cancelled(task).await;
        };
        self.engine.runtimes().spawn(self.tasks.track_future(task));
    }

    /// Reports `event` after `delay`, unless the timer is dropped or the channel has ended by then.
    #[must_use = "a timer that is dropped never reports"]
    pub fn after(&self, delay: Duration, event: E) -> Timer {
        let (events, dropped) = (self.events(), CancellationToken::new());
        let waiting = dropped.clone();
        self.spawn(async move {
            let ring = async {
                tokio::time::sleep(delay).await;
                let _ = events.send(event).await;
            };
            waiting.run_until_cancelled(ring).await;
        });
        Timer { _dropped: dropped.drop_guard() }
    }

    /// Types into a program. While more than [`STDIN_HOLD_BYTES`](limits::STDIN_HOLD_BYTES) wait for it, no further command is
    /// taken: whoever types waits until it reads, and nothing is lost. But one that takes nothing for
    /// [`STDIN_PATIENCE`](limits::STDIN_PATIENCE) holds up nobody: until it reads again, what is typed is refused, and what
    /// stops it gets through.
    ///
    /// # Errors
    /// As [`Stdin::push`], `Full` only as said.
    pub fn type_into(&mut self, stdin: &Stdin, typed: impl Into<Bytes>) -> Result<(), StdinError> {
        stdin.type_in(typed.into())?;
        if stdin.queued_bytes() > limits::STDIN_HOLD_BYTES {
            self.hold_commands(stdin.room_or_stuck());
        }
        Ok(())
    }

    /// Takes no further command until `until` is done. Members still come and go, and tasks still report.
    pub fn hold_commands(&mut self, until: impl Future<Output = ()> + Send + 'static) {
        self.hold = Some(Box::pin(until));
    }

    /// After telling all what `from` has sent: if that is somebody who may only look on, takes no further command until
    /// everybody who may do more has room. Otherwise viewers could fill the outboxes of those who work here.
    pub fn pace(&mut self, from: &Member) {
        if !from.role().may(Right::Write) {
            let audience = self.audience.clone();
            self.hold_commands(async move { audience.room_for_all().await });
        }
    }

    /// Ends the channel if it has no member. False if it has one, or one is about to join.
    pub fn close_if_empty(&mut self) -> bool {
        self.ending |= self.membership.close_if_empty();
        self.ending
    }
}

#[cfg(test)]
mod tests;

impl<E> std::fmt::Debug for Channel<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Channel").field("id", &self.id).field("name", &self.name).finish_non_exhaustive()
    }
}
