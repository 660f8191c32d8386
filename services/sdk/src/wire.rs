//! Encoding of outgoing commands, once per message however many sessions receive it; and a look at incoming ones
//! before they are decoded.

mod census;

use bytes::Bytes;
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};

use crate::api::{Command, File, command::Body};
use crate::identity::{ChannelId, SessionId};
use crate::limits;
use crate::outbox::Frame;

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

/// The number of `File.content`.
const FILE_CONTENT: u32 = 3;

/// As [`encode`]; but the content of a large file is not copied.
pub fn frame(channel: ChannelId, target: Target, reference: String, body: Body) -> Frame {
    let number = body.number();
    let Body::File(File { path, r#type, content }) = body else {
        return encode(channel, target, reference, body).into();
    };
    if content.len() < limits::SHARED_CONTENT_BYTES {
        return encode(channel, target, reference, Body::File(File { path, r#type, content })).into();
    }
    // Fields may stand in any order, so what is long comes last.
    let envelope =
        Command { channel: channel.0, session: target.on_the_wire(), r#ref: reference, body: None };
    let file = File { path, r#type, content: Bytes::new() };
    let size = content.len() as u64;
    let content_head = key_len(FILE_CONTENT) + encoded_len_varint(size);
    let file_size = (file.encoded_len() + content_head) as u64 + size;
    let mut head = envelope.encode_to_vec();
    encode_key(number, WireType::LengthDelimited, &mut head);
    encode_varint(file_size, &mut head);
    head.extend(file.encode_to_vec());
    encode_key(FILE_CONTENT, WireType::LengthDelimited, &mut head);
    encode_varint(size, &mut head);
    Frame { bytes: head.into(), tail: content, framed: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_small_as_each_task_that_handles_one_has_room_for_it() {
        let bytes = size_of::<Command>();
        assert!(bytes <= 448, "{bytes} bytes: box the field of the message that has grown, in build.rs");
    }

    #[test]
    fn a_large_file_is_sent_from_where_it_is() {
        for size in [0, 1, limits::SHARED_CONTENT_BYTES, 3 << 20] {
            let content = Bytes::from(vec![7; size]);
            let body = Body::File(File { path: "a/é".into(), r#type: 0, content: content.clone() });
            let (channel, target) = (ChannelId(300), Target::One(SessionId(9)));
            let frame = frame(channel, target, "ref".into(), body.clone());
            let shared = !frame.tail.is_empty();
            assert_eq!(shared, size >= limits::SHARED_CONTENT_BYTES);
            assert!(!shared || frame.tail.as_ptr() == content.as_ptr());
            let whole = Bytes::from([frame.bytes, frame.tail].concat());
            let plain = encode(channel, target, "ref".into(), body);
            assert_eq!(whole.len(), plain.len());
            assert_eq!(Command::decode(whole), Command::decode(plain));
        }
    }

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
