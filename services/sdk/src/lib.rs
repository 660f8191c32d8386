//! Everything a service of pid1 may use, and nothing else: the compiler keeps services away from the agent.
//!
//! A service is a type that implements [`Service`]: it is made when somebody opens a channel, it is given the commands
//! of the channel's members one at a time, and it answers with a [`Reply`]. What it may do besides is on
//! [`Channel`]: send to members, run tasks, take a [`Ticket`] to answer later. Programs are started by
//! [`Engine::processes`](engine::Engine::processes), and their output comes back as events through [`relay`].
//! The module `testing` (feature of that name) runs a channel without an agent; its example is a whole service with its test.
//!
//! Rules that hold everywhere here: nothing waits with a lock in hand; every queue is bounded by a constant of
//! [`limits`]; errors are sentences for people; offsets and sizes are in bytes, times are [`std::time::Duration`]s.
#![warn(missing_docs)]

pub mod api;
pub mod channel;
pub mod engine;
pub mod error;
pub mod identity;
pub mod limits;
pub mod outbox;
pub mod process;
pub mod relay;
pub mod runtimes;
pub mod service;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod utf8;
pub mod wire;

pub use bytes::Bytes;
pub use channel::{Channel, Member, Ticket};
pub use error::{Error, Result};
pub use identity::{ChannelId, Identity, Right, Role, SessionId};
pub use service::{Reply, Service, ServiceDef, unsupported};
