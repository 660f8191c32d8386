//! One session on a channel under test: it sends commands, and takes what is sent to it only when asked to.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Buf;
use futures_util::FutureExt;
use prost::Message;

use super::{DEADLINE, in_time};
use crate::api::{Command, command::Body};
use crate::channel::{Delivery, Handle, Leave, Left, Member};
use crate::identity::SessionId;
use crate::outbox::{Batch, Outbox};

/// One session on a [`TestChannel`](super::TestChannel). What is sent to it waits, unread, until a method here takes it.
pub struct TestMember {
    member: Member,
    outbox: Arc<Outbox>,
    handle: Handle,
    /// Taken from the outbox and not yet looked at.
    early: VecDeque<Command>,
    asked: u64,
}

impl TestMember {
    pub(super) fn new(member: Member, outbox: Arc<Outbox>, handle: Handle) -> Self {
        TestMember { member, outbox, handle, early: VecDeque::new(), asked: 0 }
    }

    /// Its number.
    pub fn session(&self) -> SessionId {
        self.member.session()
    }

    /// What waits for it.
    pub fn outbox(&self) -> &Arc<Outbox> {
        &self.outbox
    }

    /// Sends a command that asks for no answer.
    pub async fn send(&self, body: Body) {
        assert!(self.deliver(String::new(), Some(body)).await, "the channel has ended");
    }

    /// Sends a command and waits for its one answer. What else comes meanwhile is kept for later.
    pub async fn ask(&mut self, body: Body) -> Body {
        self.ask_raw(Some(body)).await
    }

    /// As [`ask`](TestMember::ask), also without a body.
    pub async fn ask_raw(&mut self, body: Option<Body>) -> Body {
        self.asked += 1;
        let reference = format!("t{}", self.asked);
        assert!(self.deliver(reference.clone(), body).await, "the channel has ended");
        let mut passed = VecDeque::new();
        loop {
            let command = self.next_command().await;
            if command.r#ref == reference {
                passed.append(&mut self.early);
                self.early = passed;
                return command.body.expect("an answer has a body");
            }
            passed.push_back(command);
        }
    }

    /// Sends a command with this `ref`; false if the channel has ended.
    pub(super) async fn deliver(&self, reference: String, body: Option<Body>) -> bool {
        use crate::channel::Undelivered::{Busy, Gone};
        let delivery = Box::new(Delivery { from: self.member.clone(), reference, body, share: None });
        match in_time("delivery", self.handle.deliver(delivery, DEADLINE)).await {
            Ok(()) => true,
            Err(Gone(_)) => false,
            Err(Busy(_)) => unreachable!("it waits for as long as the test does"),
        }
    }

    /// The next message, whatever it is.
    pub async fn next(&mut self) -> Body {
        self.next_command().await.body.expect("every message has a body")
    }

    /// The next message with its envelope.
    pub async fn next_command(&mut self) -> Command {
        self.next_for("a message").await
    }

    /// The next message; `what` the caller waits for, should it not come.
    pub(super) async fn next_for(&mut self, what: &str) -> Command {
        loop {
            if let Some(command) = self.early.pop_front() {
                return command;
            }
            in_time(what, self.take()).await;
        }
    }

    /// Everything that waits now, or nothing.
    pub fn waiting(&mut self) -> Vec<Command> {
        while self.take().now_or_never().is_some() {}
        self.early.drain(..).collect()
    }

    /// Takes one batch from the outbox, as a door does.
    async fn take(&mut self) {
        let mut batch = Batch::default();
        self.outbox.next_batch(&mut batch).await;
        for frame in &batch.frames {
            self.outbox.taken(frame.size_bytes());
            let whole = frame.bytes.clone().chain(frame.tail.clone());
            self.early.push_back(Command::decode(whole).expect("our own encoding"));
        }
        self.outbox.written(&mut batch);
    }

    /// Skips messages until one is `wanted`, and gives it.
    pub async fn until(&mut self, wanted: impl Fn(&Body) -> bool) -> Body {
        loop {
            let body = self.next().await;
            if wanted(&body) {
                return body;
            }
        }
    }

    /// Collects `output` until it contains `text`; all of it.
    pub async fn until_output(&mut self, text: &str) -> String {
        let mut all = String::new();
        while !all.contains(text) {
            if let Body::Output(more) = self.until(|body| matches!(body, Body::Output(_))).await {
                all += &more;
            }
        }
        all
    }

    /// Joins the channel it is on once more.
    pub async fn join_again(&self) {
        let joined = self.handle.join(self.member.clone(), String::new(), false).expect("the channel runs");
        in_time("joining", joined).await.expect("the channel's actor answers");
    }

    /// Leaves, and waits until that is carried out.
    pub async fn leave(&self, how: Leave) {
        if let Left::Done(done) = self.handle.leave(&self.member, how, "leave".to_owned()) {
            let _ = in_time("leaving", done).await;
        }
    }
}
