//! What a contributor writes: a type that answers commands.

use std::future::{Future, ready};

use crate::api::command::Body;
use crate::channel::{Channel, ChannelSeed, Member};
use crate::error::{Error, Result};
use crate::identity::Right;

/// One running instance of a service: the state behind one channel.
///
/// The channel's actor calls these methods one at a time, so a service needs no locks. `command` may wait for the
/// store, never for a program, the network or a timer: such work goes into a task ([`Channel::spawn`]) that reports
/// by [`Channel::events`] or answers by a [`Ticket`](crate::channel::Ticket). A method that panics ends its own
/// channel with an error to the members; nothing else notices.
pub trait Service: Sized + Send + 'static {
    /// What this service's own tasks may tell it; `()` if none.
    type Event: Send + 'static;

    /// The right needed to start this service. Opened by somebody without it, the channel stays empty, and the
    /// first member who has it starts the service.
    const OPEN_NEEDS: Right = Right::Write;

    /// Starts an instance. An error is told to the members, and again to every command, until all have left and somebody
    /// joins anew. Given up after [`OPEN_TIMEOUT`](crate::limits::OPEN_TIMEOUT). Whom the channel has for members is not
    /// known yet: greet in [`attach`](Service::attach).
    fn open(ch: &mut Channel<Self::Event>) -> impl Future<Output = Result<Self>> + Send;

    /// The right that `body` asks for. List only what a viewer may send: what is forgotten is then refused.
    fn needs(_body: &Body) -> Right {
        Right::Write
    }

    /// Answers one command of a member who has the right that [`needs`](Service::needs) names. Given up after
    /// [`COMMAND_TIMEOUT`](crate::limits::COMMAND_TIMEOUT), with an error to whoever asked.
    ///
    /// An error reaches the sender, if it asked with a `ref`, as `error` with this text.
    fn command(
        &mut self,
        ch: &mut Channel<Self::Event>,
        from: &Member,
        body: Body,
    ) -> impl Future<Output = Result<Reply>> + Send;

    /// Whether nothing would be lost if this channel ended now, with nobody attached. Asked so that the agent can make
    /// room when it has as many named channels as it may.
    fn idle(&self) -> bool {
        false
    }

    /// A session has joined; it has been told so, and what is sent to it here is its greeting.
    fn attach(
        &mut self,
        _ch: &mut Channel<Self::Event>,
        _member: &Member,
    ) -> impl Future<Output = ()> + Send {
        ready(())
    }

    /// A session has left; nothing reaches it any more.
    fn detach(
        &mut self,
        _ch: &mut Channel<Self::Event>,
        _member: &Member,
    ) -> impl Future<Output = ()> + Send {
        ready(())
    }

    /// One of the service's own tasks reports. What it reports of may have changed since it was sent.
    fn event(
        &mut self,
        _ch: &mut Channel<Self::Event>,
        _event: Self::Event,
    ) -> impl Future<Output = ()> + Send {
        ready(())
    }

    /// No further command waits, or [`SETTLE_COMMANDS`](crate::limits::SETTLE_COMMANDS) were handled since: what they
    /// asked for becomes lasting, in one step, and is told. Called before anything else happens here. For services that
    /// answer by [`Reply::Later`] and [commit](crate::store::Store::commit) what many have sent at once.
    fn settle(&mut self, _ch: &mut Channel<Self::Event>) -> impl Future<Output = ()> + Send {
        ready(())
    }

    /// The channel ends: stop programs here. Members can still be sent to; the service and its tasks are dropped right
    /// after. Called after a panic, too. Given up after [`CLOSE_TIMEOUT`](crate::limits::CLOSE_TIMEOUT).
    fn close(&mut self, _ch: &mut Channel<Self::Event>) -> impl Future<Output = ()> + Send {
        ready(())
    }
}

/// The answer to one command. The actor copies the `ref`, and sends nothing if there is none: a request has one answer,
/// which carries its `ref` (`Command.ref` in `api.proto`).
#[derive(Debug)]
pub enum Reply {
    /// Nothing to say: whoever asked with a `ref` gets `ok`.
    None,
    /// This, to the sender, if it asked with a `ref`.
    Now(Box<Body>),
    /// Later: whoever holds the ticket from [`Channel::ticket`] answers. Without having taken it, the answer is an error.
    Later,
}

impl Reply {
    /// Answers with `body` at once.
    pub fn now(body: Body) -> Self {
        Reply::Now(Box::new(body))
    }
}

/// The error for a body that a service does not know: the last arm of every `command`.
///
/// # Errors
/// Always: [`Error::Unsupported`], which names the body.
pub fn unsupported<T>(body: &Body) -> Result<T> {
    Err(Error::Unsupported(body.name()))
}

/// One line of the agent's registry: a name that clients may open, and how it is started.
#[derive(Clone, Copy)]
pub struct ServiceDef {
    /// What clients write into `OpenChannel.service`.
    pub name: &'static str,
    /// One line for `pid1 services` and the docs.
    pub doc: &'static str,
    needs: fn(&Body) -> Right,
    open_needs: Right,
    spawn: fn(ChannelSeed),
}

impl ServiceDef {
    /// The service `S` under `name`.
    pub const fn new<S: Service>(name: &'static str, doc: &'static str) -> Self {
        let spawn = crate::channel::spawn::<S>;
        ServiceDef { name, doc, needs: S::needs, open_needs: S::OPEN_NEEDS, spawn }
    }

    /// The right that `body` asks for, as [`Service::needs`] says.
    pub fn needs(&self, body: &Body) -> Right {
        (self.needs)(body)
    }

    /// The right needed to start it, as [`Service::OPEN_NEEDS`] says.
    pub fn open_needs(&self) -> Right {
        self.open_needs
    }

    /// Starts a channel of this service.
    pub(crate) fn spawn(&self, seed: ChannelSeed) {
        (self.spawn)(seed);
    }
}

impl std::fmt::Display for ServiceDef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl std::fmt::Debug for ServiceDef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServiceDef").field("name", &self.name).finish_non_exhaustive()
    }
}
