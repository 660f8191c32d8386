//! The agent's side of a channel: what the router keeps in its table and a session in its memberships.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::Member;
use super::membership::{Leave, Left, Membership, NotJoined};
use crate::api::command::Body;
use crate::engine::Engine;
use crate::identity::{ChannelId, Right};
use crate::limits;
use crate::service::ServiceDef;

/// One command on its way to a channel. Boxed, because a bounded queue keeps room for 32 items at once.
#[derive(Debug)]
pub struct Delivery {
    /// The sender, as the agent knows it; the `session` that the client wrote is never looked at.
    pub from: Member,
    /// Its `ref`: empty if it wants no answer.
    pub reference: String,
    /// `None` for an empty or unknown body.
    pub body: Option<Body>,
    /// The sender's share of memory that this takes until it is handled.
    pub share: Option<OwnedSemaphorePermit>,
}

/// A running channel. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Handle {
    id: ChannelId,
    service: &'static str,
    inbox: mpsc::Sender<Box<Delivery>>,
    membership: Arc<Membership>,
}

/// Everything an actor is made from.
pub struct ChannelSeed {
    pub(super) id: ChannelId,
    pub(super) service: &'static str,
    pub(super) name: Option<String>,
    pub(super) engine: Arc<Engine>,
    pub(super) membership: Arc<Membership>,
    pub(super) inbox: mpsc::Receiver<Box<Delivery>>,
    pub(super) on_end: Box<dyn FnOnce() + Send>,
}

impl Handle {
    /// Starts a channel of `service`. It runs nothing until its first member joins. `on_end` is called when it has
    /// ended, from its own task.
    pub fn start(
        service: &ServiceDef,
        id: ChannelId,
        name: Option<String>,
        engine: &Arc<Engine>,
        on_end: impl FnOnce() + Send + 'static,
    ) -> Handle {
        let membership = Arc::new(Membership::new(name.is_none()));
        let (sender, inbox) = mpsc::channel(limits::INBOX_COMMANDS);
        service.spawn(ChannelSeed {
            id,
            service: service.name,
            name,
            engine: engine.clone(),
            membership: membership.clone(),
            inbox,
            on_end: Box::new(on_end),
        });
        Handle { id, service: service.name, inbox: sender, membership }
    }

    /// The channel's number.
    pub fn id(&self) -> ChannelId {
        self.id
    }

    /// The name of its service.
    pub fn service(&self) -> &'static str {
        self.service
    }

    /// Whether it has ended or is about to.
    pub fn is_gone(&self) -> bool {
        self.membership.is_gone()
    }

    /// Ends it if nobody belongs to it and its service has nothing to lose. Whether it does.
    pub fn retire(&self) -> bool {
        self.membership.retire()
    }

    /// Makes `member` a member; the actor answers `reference` with `openChanRes`. The receiver resolves when the
    /// member has been told and greeted.
    ///
    /// # Errors
    /// The channel has ended, or has [`limits::MEMBERS_PER_CHANNEL`] members. Nobody has been told of anything then.
    pub fn join(
        &self,
        member: Member,
        reference: String,
        created: bool,
    ) -> Result<oneshot::Receiver<()>, NotJoined> {
        self.membership.join(member, reference, created)
    }

    /// Ends a membership; the actor answers `reference` with `closeChanRes`. Whoever may only look on ends nothing that
    /// others use, or left running: however a viewer wants to leave, it just leaves.
    pub fn leave(&self, member: &Member, how: Leave, reference: String) -> Left {
        let how = match how {
            Leave::Close | Leave::TryClose if !member.role().may(Right::Write) => Leave::Disconnect,
            other => other,
        };
        self.membership.leave(member.session(), how, reference)
    }

    /// Hands over a command, unless [`limits::INBOX_COMMANDS`] wait already.
    ///
    /// # Errors
    /// The channel has ended, or has no room: the command comes back, to be tried again or answered.
    pub fn try_deliver(&self, delivery: Box<Delivery>) -> Result<(), Undelivered> {
        self.inbox.try_send(delivery).map_err(|error| match error {
            mpsc::error::TrySendError::Closed(back) => Undelivered::Gone(back),
            mpsc::error::TrySendError::Full(back) => Undelivered::Busy(back),
        })
    }

    /// Hands over a command, waiting at most `patience` while [`limits::INBOX_COMMANDS`] wait already.
    ///
    /// # Errors
    /// The channel has ended, or took nothing for so long: the command comes back, for somebody to answer it.
    pub async fn deliver(&self, delivery: Box<Delivery>, patience: Duration) -> Result<(), Undelivered> {
        match tokio::time::timeout(patience, self.inbox.reserve()).await {
            Ok(Ok(place)) => {
                place.send(delivery);
                Ok(())
            }
            Ok(Err(_closed)) => Err(Undelivered::Gone(delivery)),
            Err(_elapsed) => Err(Undelivered::Busy(delivery)),
        }
    }
}

/// Why a command could not be handed over.
#[derive(Debug)]
pub enum Undelivered {
    /// The channel has ended.
    Gone(Box<Delivery>),
    /// The channel took no command for so long.
    Busy(Box<Delivery>),
}
