//! One connected client: its memberships, its outbox, its lifetime. Knows no socket.
//!
//! Commands are handled one after the other: what a client sent after an `openChan` is handled after that open is
//! done. When a session is dropped, however that came about, it leaves every channel.

use std::collections::{HashMap, HashSet};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use pid1_sdk::api::{Command, command::Body};
use pid1_sdk::channel::{Delivery, Handle, Leave, Member, Undelivered};
use pid1_sdk::engine::Counters;
use pid1_sdk::outbox::{Ended, Outbox};
use pid1_sdk::wire::{self, Census, Target};
use pid1_sdk::{ChannelId, Identity, SessionId, limits};
use prost::Message;
use tokio::sync::Semaphore;

use crate::auth::Auth;
use crate::control;
use crate::router::Router;
use crate::sessions::{Entry, Sessions};

/// Undecodable frames that a session may send before it is closed: a broken client, or none of ours.
const BAD_FRAMES: u32 = 10;

/// A message that is no command: WebSocket close code "inconsistent data".
const CLOSE_BAD_DATA: u16 = 1007;

/// The rest of handling a message, which must wait.
pub(crate) type Waiting<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// One client.
#[derive(Debug)]
pub struct Session {
    pub(crate) id: SessionId,
    pub(crate) sessions: Arc<Sessions>,
    _entry: Entry,
    pub(crate) identity: Arc<Identity>,
    pub(crate) outbox: Arc<Outbox>,
    pub(crate) router: Arc<Router>,
    pub(crate) auth: Arc<Auth>,
    pub(crate) channels: HashMap<ChannelId, Handle>,
    /// Bytes that its waiting commands may hold.
    shares: Arc<Semaphore>,
    /// Channels that did not take its last command.
    busy: HashSet<ChannelId>,
    bad_frames: u32,
}

impl Session {
    /// A client that has identified itself.
    pub fn new(
        entry: Entry,
        identity: Identity,
        outbox: Arc<Outbox>,
        router: Arc<Router>,
        auth: Arc<Auth>,
    ) -> Self {
        Counters::add(&router.engine().counters().sessions);
        let identity = Arc::new(identity);
        let shares = Arc::new(Semaphore::new(limits::SESSION_INBOX_BYTES));
        Session {
            id: entry.id(),
            sessions: entry.sessions().clone(),
            _entry: entry,
            identity,
            outbox,
            router,
            auth,
            channels: HashMap::new(),
            shares,
            busy: HashSet::new(),
            bad_frames: 0,
        }
    }

    /// What waits to be sent to it.
    pub fn outbox(&self) -> &Arc<Outbox> {
        &self.outbox
    }

    /// Sends on channel 0.
    pub fn tell(&self, body: Body) {
        self.answer(ChannelId::CONTROL, String::new(), body);
    }

    /// Handles one message from the client, waiting for the channel it is for if that has much to do.
    pub async fn receive(&mut self, message: Bytes) {
        // Most are handled without waiting. What waits is on the heap, so that the task of a client that is idle, which
        // has room for whatever it may await, stays small.
        if let Some(rest) = self.take_up(message) {
            rest.await;
        }
    }

    /// Handles what can be handled at once; gives back what must be waited for.
    fn take_up(&mut self, message: Bytes) -> Option<Waiting<'_>> {
        let large = message.len() > Census::SMALL_BYTES;
        // Made for the first that is large.
        let census = large.then(|| self.router.engine().shared::<Census>());
        if let Some(Err(error)) = census.map(|census| census.check(&message)) {
            self.unreadable(&message, format!("a message of {} bytes is refused: {error}", message.len()));
            return None;
        }
        let command = match Command::decode(message.clone()) {
            Ok(command) => command,
            Err(error) => {
                self.undecodable(&message, &error);
                return None;
            }
        };
        let Command { channel, body, r#ref: reference, .. } = command;
        if channel == ChannelId::CONTROL.0 {
            control::handle(self, body, reference)
        } else {
            self.deliver(ChannelId(channel), body, reference, message.len())
        }
    }

    fn deliver(
        &mut self,
        channel: ChannelId,
        body: Option<Body>,
        reference: String,
        size_bytes: usize,
    ) -> Option<Waiting<'_>> {
        let Some(handle) = self.channels.get(&channel) else {
            self.refuse(channel, reference, format!("this session has no channel {channel} open"));
            return None;
        };
        let mut delivery = Box::new(Delivery { from: self.member(), reference, body, share: None });
        let cost = share_cost(size_bytes);
        if cost > 0 {
            match self.shares.clone().try_acquire_many_owned(cost) {
                Ok(share) => delivery.share = Some(share),
                Err(_used_up) => return Some(Box::pin(self.deliver_late(channel, delivery, cost))),
            }
        }
        match handle.try_deliver(delivery) {
            Ok(()) => {
                self.busy.remove(&channel);
                None
            }
            Err(Undelivered::Busy(delivery)) => Some(Box::pin(self.deliver_late(channel, delivery, 0))),
            Err(gone) => {
                self.undelivered(channel, gone);
                None
            }
        }
    }

    /// Delivers once there is room: of the session's own share of `cost` bytes, and in the channel's inbox.
    async fn deliver_late(&mut self, channel: ChannelId, mut delivery: Box<Delivery>, cost: u32) {
        let Some(handle) = self.channels.get(&channel) else { return };
        // Who has just found a channel busy does not wait for it again and again: other channels are waiting too.
        let patience = if self.busy.contains(&channel) { Duration::ZERO } else { limits::INBOX_WAIT };
        if cost > 0 {
            let share = tokio::time::timeout(patience, self.shares.clone().acquire_many_owned(cost)).await;
            let Ok(Ok(share)) = share else {
                self.busy.insert(channel);
                let error =
                    format!("channel {channel} is busy: too much that this session sent waits to be handled");
                return self.refuse(channel, delivery.reference, error);
            };
            delivery.share = Some(share);
        }
        match handle.deliver(delivery, patience).await {
            Ok(()) => {
                self.busy.remove(&channel);
            }
            Err(undelivered) => self.undelivered(channel, undelivered),
        }
    }

    fn undelivered(&mut self, channel: ChannelId, undelivered: Undelivered) {
        match undelivered {
            Undelivered::Gone(back) => {
                self.channels.remove(&channel);
                self.refuse(channel, back.reference, format!("channel {channel} has ended"));
            }
            Undelivered::Busy(back) => {
                self.busy.insert(channel);
                let error = format!("channel {channel} is busy: what was sent before is not handled yet");
                self.refuse(channel, back.reference, error);
            }
        }
    }

    /// Answers a command that reaches no channel; without a `ref` there is nobody to tell.
    fn refuse(&self, channel: ChannelId, reference: String, error: String) {
        if reference.is_empty() {
            Counters::add(&self.router.engine().counters().commands_dropped);
        } else {
            self.answer(channel, reference, Body::Error(error));
        }
    }

    /// Sends past the channels' lanes: for channel 0, and for ids that the client is not on.
    pub(crate) fn answer(&self, channel: ChannelId, reference: String, body: Body) {
        let bytes = wire::encode(channel, Target::One(self.id), reference, body);
        self.outbox.push(ChannelId::CONTROL, bytes);
    }

    /// Leaves off counting a channel as busy.
    pub(crate) fn forget_busy(&mut self, channel: ChannelId) {
        self.busy.remove(&channel);
    }

    /// This session as a member of any channel.
    pub(crate) fn member(&self) -> Member {
        Member::new(self.id, self.identity.clone(), self.outbox.clone())
    }

    /// Refuses one message whose envelope can be read.
    fn unreadable(&self, message: &Bytes, text: String) {
        let (channel, reference) = envelope(message);
        if reference.is_empty() {
            self.tell(Body::ProtocolError(protocol_error(text)));
        } else {
            self.answer(channel, reference, Body::Error(text));
        }
    }

    fn undecodable(&mut self, message: &Bytes, error: &prost::DecodeError) {
        Counters::add(&self.router.engine().counters().frames_undecodable);
        let text = format!("a message of {} bytes is no Command: {error}", message.len());
        // A lone surrogate, which a JavaScript string may hold, is no UTF-8: it costs that message only.
        if error.to_string().contains("UTF-8") {
            return self.unreadable(message, text);
        }
        self.tell(Body::ProtocolError(protocol_error(text)));
        self.bad_frames += 1;
        if self.bad_frames >= BAD_FRAMES {
            let reason = format!("{BAD_FRAMES} messages were no Command");
            self.outbox.end(Ended::Close { code: CLOSE_BAD_DATA, reason });
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.outbox.end(Ended::Gone);
        let member = self.member();
        for (_, handle) in self.channels.drain() {
            handle.leave(&member, Leave::Vanish, String::new());
        }
    }
}

/// What a command of that size needs of its session's share. Small ones need nothing: a channel's inbox bounds their
/// number, and a large one elsewhere must not hold them up.
fn share_cost(size_bytes: usize) -> u32 {
    if size_bytes <= limits::SMALL_COMMAND_BYTES {
        return 0;
    }
    u32::try_from(size_bytes.min(limits::SESSION_INBOX_BYTES)).unwrap_or(u32::MAX)
}

fn protocol_error(text: String) -> pid1_sdk::api::ProtocolError {
    pid1_sdk::api::ProtocolError { text }
}

/// Channel and `ref` of a command whose body does not decode.
#[derive(Clone, PartialEq, Message)]
struct Envelope {
    #[prost(int32, tag = "1")]
    channel: i32,
    #[prost(string, tag = "1000")]
    reference: String,
}

fn envelope(message: &Bytes) -> (ChannelId, String) {
    let Envelope { channel, reference } = Envelope::decode(message.clone()).unwrap_or_default();
    (ChannelId(channel), reference)
}
