//! Everything a service of pid1 may use, and the guide to writing one. A service depends on this crate and on nothing
//! of the agent; the compiler holds that line.
//!
//! Rules that hold everywhere here: nothing waits with a lock in hand; every queue is bounded by a constant of
//! [`limits`]; errors are sentences for people; offsets and sizes are in bytes, times are [`std::time::Duration`]s.
//!
#![doc = include_str!("../GUIDE.md")]
#![warn(missing_docs)]

pub mod api;
pub mod channel;
pub mod engine;
pub mod error;
pub mod file_url;
pub mod identity;
pub mod limits;
pub mod outbox;
pub mod process;
pub mod project;
pub mod relay;
pub mod runtimes;
pub mod service;
pub mod snapshots;
pub mod store;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod utf8;
pub mod watch;
pub mod window;
pub mod wire;
pub mod workspace;

pub use bytes::Bytes;
pub use channel::{Channel, Member, Ticket};
pub use error::{Error, Result};
pub use identity::{ChannelId, Identity, Right, Role, SessionId};
pub use service::{Reply, Service, ServiceDef, unsupported};
