//! The `meta` service: bytes under keys, kept for as long as the state folder is.
//!
//! In: `readMeta`, `writeMeta`, `appendMeta`. Out: `readMeta` with what is there, or `ok` once it is kept. All channels
//! share the same keys. What has come together is read and written in the order in which it came, in one step.
//!
//! Source: the comments of the published contract. Which service the messages belong to is not published and no client
//! that can be read sends them, so they have one of their own.
#![warn(missing_docs)]

mod keys;

use pid1_sdk::api::{AppendMeta, ReadMeta, WriteMeta, command::Body};
use pid1_sdk::{Channel, Error, Member, Reply, Result, Right, Service, Ticket, limits, unsupported};

use keys::Order;

/// What was asked for and not done yet.
#[derive(Debug, Default)]
pub struct Meta {
    asked: Vec<(Order, Ticket)>,
}

impl Service for Meta {
    type Event = ();

    /// Nothing is started: whoever may only look on may read.
    const OPEN_NEEDS: Right = Right::Read;

    async fn open(_ch: &mut Channel<()>) -> Result<Self> {
        Ok(Meta::default())
    }

    fn needs(body: &Body) -> Right {
        match body {
            Body::ReadMeta(_) => Right::Read,
            _ => Right::Write,
        }
    }

    async fn command(&mut self, ch: &mut Channel<()>, _from: &Member, body: Body) -> Result<Reply> {
        let order = match body {
            Body::ReadMeta(ReadMeta { key, .. }) => Order::Read(key),
            Body::WriteMeta(WriteMeta { key, data }) => Order::Write(key, data),
            Body::AppendMeta(AppendMeta { key, data }) => Order::Append(key, data),
            other => return unsupported(&other),
        };
        let length = order.key().len();
        if length == 0 || length > limits::META_KEY_BYTES {
            let error = format!("meta: a key has 1 to {} bytes, not {length}", limits::META_KEY_BYTES);
            return Err(Error::new(error));
        }
        // Before it is kept waiting.
        order.check(0).map_err(because)?;
        self.asked.push((order, ch.ticket()));
        Ok(Reply::Later)
    }

    async fn settle(&mut self, ch: &mut Channel<()>) {
        let (orders, tickets): (Vec<_>, Vec<_>) = std::mem::take(&mut self.asked).into_iter().unzip();
        if orders.is_empty() {
            return;
        }
        let store = ch.engine().store();
        // Where the disk is full, reads and what is small may still be done.
        let done = keys::commit(store, &orders).unwrap_or_else(|error| {
            tracing::warn!(error = %error, "a change of metadata is not kept");
            match tickets.len() {
                1 => vec![Err(error)],
                _ => keys::commit_each(store, &orders),
            }
        });
        for (ticket, answer) in tickets.into_iter().zip(done) {
            match answer {
                Ok(body) => ticket.answer(body),
                Err(error) => ticket.fail(because(error)),
            }
        }
    }

    fn idle(&self) -> bool {
        true
    }
}

fn because(error: Error) -> Error {
    Error::new(format!("meta: {error}"))
}
