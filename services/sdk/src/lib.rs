//! Everything a service of pid1 may use, and nothing else: the compiler keeps services away from the agent.
#![warn(missing_docs)]

pub mod api;
pub mod error;
pub mod identity;
pub mod limits;
pub mod process;
pub mod runtimes;

pub use bytes::Bytes;
pub use error::{Error, Result};
pub use identity::{ChannelId, Identity, Right, Role, SessionId};
