//! The `@name@` service: what it is for, what comes in, what goes out.
#![warn(missing_docs)]

use pid1_sdk::api::command::Body;
use pid1_sdk::{Channel, Member, Reply, Result, Service, unsupported};

/// What one channel holds.
#[derive(Debug)]
pub struct @Type@;

impl Service for @Type@ {
    type Event = ();

    async fn open(_ch: &mut Channel<()>) -> Result<Self> {
        Ok(@Type@)
    }

    async fn command(&mut self, _ch: &mut Channel<()>, _from: &Member, body: Body) -> Result<Reply> {
        unsupported(&body)
    }
}
