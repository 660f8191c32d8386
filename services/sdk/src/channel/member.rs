//! One session as a member of one channel.

use std::sync::Arc;

use crate::api::command::Body;
use crate::identity::{ChannelId, Identity, Role, SessionId};
use crate::outbox::Outbox;
use crate::wire::{self, Target};

/// A session seen from a channel. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Member {
    session: SessionId,
    identity: Arc<Identity>,
    outbox: Arc<Outbox>,
}

impl Member {
    /// The member that `session` is wherever it joins.
    pub fn new(session: SessionId, identity: Arc<Identity>, outbox: Arc<Outbox>) -> Self {
        Member { session, identity, outbox }
    }

    /// The session's number.
    pub fn session(&self) -> SessionId {
        self.session
    }

    /// Who it is.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// What it may do.
    pub fn role(&self) -> Role {
        self.identity.role
    }

    /// What waits to be sent to it. Tasks that feed one member wait here for room.
    pub fn outbox(&self) -> &Arc<Outbox> {
        &self.outbox
    }

    /// Sends on `channel` to this member alone; false if it has left the channel.
    pub fn send(&self, channel: ChannelId, body: Body) -> bool {
        self.answer(channel, String::new(), body)
    }

    pub(super) fn answer(&self, channel: ChannelId, reference: String, body: Body) -> bool {
        self.outbox.push(channel, wire::frame(channel, Target::One(self.session), reference, body))
    }
}
