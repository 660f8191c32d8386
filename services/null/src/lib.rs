//! Channels that open and do nothing.
//!
//! Official clients open a number of services without needing an answer from them, and die if an open is refused.
//! Until such a service is built, its name opens this one. Every command with a `ref` is answered with an `error`
//! that says it is not supported yet.
#![warn(missing_docs)]

use pid1_sdk::api::command::Body;
use pid1_sdk::{Channel, Member, Reply, Result, Right, Service, unsupported};

/// The inert service. Viewers may open it: there is nothing to start.
#[derive(Debug)]
pub struct Null;

impl Service for Null {
    type Event = ();
    const OPEN_NEEDS: Right = Right::Read;

    async fn open(_ch: &mut Channel<()>) -> Result<Self> {
        Ok(Null)
    }

    fn idle(&self) -> bool {
        true
    }

    async fn command(&mut self, _ch: &mut Channel<()>, _from: &Member, body: Body) -> Result<Reply> {
        unsupported(&body)
    }
}
