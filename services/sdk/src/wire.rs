//! Encoding of outgoing commands, once per message however many sessions receive it; and a look at incoming ones
//! before they are decoded.

mod census;

use bytes::Bytes;
use prost::Message;

use crate::api::{Command, command::Body};
use crate::identity::{ChannelId, SessionId};

pub use census::{Census, TooMany};

/// Who a message is meant for. It travels in `Command.session`, where official clients learn their own number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Every member of the channel: 0 on the wire.
    All,
    /// One session: its number on the wire.
    One(SessionId),
    /// Every member but one: that one's number, negative, on the wire.
    Except(SessionId),
}

impl Target {
    fn on_the_wire(self) -> i32 {
        match self {
            Target::All => 0,
            Target::One(session) => session.0,
            Target::Except(session) => -session.0,
        }
    }
}

/// The bytes of one command. `reference` is the `ref` of the command it answers, or empty.
pub fn encode(channel: ChannelId, target: Target, reference: String, body: Body) -> Bytes {
    Command { channel: channel.0, session: target.on_the_wire(), r#ref: reference, body: Some(body) }
        .encode_to_vec()
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_session_field_says_who_is_meant() {
        let session = SessionId(7);
        for (target, number) in [(Target::All, 0), (Target::One(session), 7), (Target::Except(session), -7)] {
            let bytes = encode(ChannelId(3), target, "r".into(), Body::Output("é".into()));
            let command = Command::decode(bytes).expect("our own encoding");
            assert_eq!((command.channel, command.session, command.r#ref.as_str()), (3, number, "r"));
            assert_eq!(command.body, Some(Body::Output("é".into())));
        }
    }
}
