//! The duty to answer one command, exactly once.

use crate::api::command::Body;
use crate::channel::Member;
use crate::error::{Error, printable};
use crate::identity::{ChannelId, SessionId};

/// Answers one command from any task. Dropped unanswered, it answers `error` itself; for a session that has left
/// the channel it sends nothing; for a command without a `ref` there is nobody to answer.
#[derive(Debug)]
pub struct Ticket(Option<Asked>);

#[derive(Debug)]
struct Asked {
    member: Member,
    channel: ChannelId,
    reference: String,
}

impl Ticket {
    pub(super) fn new(member: Member, channel: ChannelId, reference: String) -> Self {
        Ticket((!reference.is_empty()).then_some(Asked { member, channel, reference }))
    }

    pub(super) fn nobody() -> Self {
        Ticket(None)
    }

    /// The session that waits for this answer, if any does.
    pub fn session(&self) -> Option<SessionId> {
        self.0.as_ref().map(|asked| asked.member.session())
    }

    /// Sends the one answer.
    pub fn answer(mut self, body: Body) {
        self.settle(body);
    }

    /// Sends the one answer: an error.
    pub fn fail(self, error: impl Into<Error>) {
        self.answer(Body::Error(printable(&error.into().to_string())));
    }

    fn settle(&mut self, body: Body) {
        if let Some(Asked { member, channel, reference }) = self.0.take() {
            member.answer(channel, reference, body);
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.settle(Body::Error("the command was given up: its channel is closing".to_owned()));
    }
}
