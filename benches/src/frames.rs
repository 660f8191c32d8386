//! WebSocket frames and the outside of a `Command`, read without copying and hardly decoded, so that the client is
//! not what is measured.

use pid1_sdk::api::{Command, command::Body};
use prost::Message as _;

/// `Command.output`.
pub const OUTPUT: u32 = 23;
/// `Command.error`.
pub const ERROR: u32 = 24;
/// `Command.state`.
pub const STATE: u32 = 28;
/// `Command.ok`.
pub const OK: u32 = 30;
/// `Command.openChanRes`.
pub const OPEN_CHAN_RES: u32 = 4;
/// `Command.closeChanRes`.
pub const CLOSE_CHAN_RES: u32 = 6;
/// `Command.containerState`.
pub const CONTAINER_STATE: u32 = 9;
/// `Command.ot`.
pub const OT: u32 = 220;
/// `Command.fileEvent`.
pub const FILE_EVENT: u32 = 257;
/// `Command.processOutput`.
pub const PROCESS_OUTPUT: u32 = 2005;
/// `Command.processExited`.
pub const PROCESS_EXITED: u32 = 2007;
/// `Command.ref`.
const REF: u32 = 1000;

/// The head of a frame from the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// What it is: 2 is binary data, 8 a close.
    pub opcode: u8,
    /// Bytes of the head itself.
    pub len: usize,
    /// Bytes that follow.
    pub payload: usize,
}

/// The head at the start of `bytes`; `None` while it is not complete.
pub fn head(bytes: &[u8]) -> Option<Head> {
    let opcode = bytes.first()? & 0x0f;
    let (len, payload) = match bytes.get(1)? & 0x7f {
        126 => (4, u64::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?))),
        127 => (10, u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?)),
        short => (2, u64::from(short)),
    };
    Some(Head { opcode, len, payload: usize::try_from(payload).ok()? })
}

/// Adds a command as one masked frame. The mask is zero: allowed, and the agent unmasks all the same.
pub fn put(buffer: &mut Vec<u8>, channel: i32, reference: &str, body: Body) {
    let command = Command { channel, session: 0, r#ref: reference.to_owned(), body: Some(body) };
    let len = command.encoded_len();
    buffer.push(0x82);
    match (u8::try_from(len), u16::try_from(len)) {
        (Ok(short @ 0..=125), _) => buffer.push(0x80 | short),
        (_, Ok(medium)) => {
            buffer.push(0x80 | 126);
            buffer.extend(medium.to_be_bytes());
        }
        _ => {
            buffer.push(0x80 | 127);
            buffer.extend((len as u64).to_be_bytes());
        }
    }
    buffer.extend([0; 4]);
    command.encode(buffer).expect("a vector grows");
}

/// The outside of a command.
#[derive(Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// Its channel.
    pub channel: i32,
    /// The number of its body.
    pub field: u32,
    /// The encoded body; empty if it is a mere number.
    pub body: &'a [u8],
    /// The `ref` of what it answers.
    pub reference: &'a str,
}

/// Reads the outside of a command; `None` if it is none.
pub fn message(mut bytes: &[u8]) -> Option<Message<'_>> {
    let mut message = Message { channel: 0, field: 0, body: &[], reference: "" };
    while !bytes.is_empty() {
        let (field, value) = field(&mut bytes)?;
        match (field, value) {
            (1, Value::Number(channel)) => message.channel = i32::try_from(channel).ok()?,
            (2, _) => {}
            (REF, Value::Bytes(reference)) => message.reference = std::str::from_utf8(reference).ok()?,
            (body, Value::Number(_)) => message.field = body,
            (body, Value::Bytes(bytes)) => (message.field, message.body) = (body, bytes),
        }
    }
    Some(message)
}

/// The value of a body's first field, if that is a number: of a packet, its version.
pub fn first_number(mut body: &[u8]) -> Option<u32> {
    match field(&mut body)? {
        (1, Value::Number(number)) => u32::try_from(number).ok(),
        _ => None,
    }
}

/// What the first bytes of a command tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    /// The number of its body.
    pub field: u32,
    /// Bytes of output that it carries, if it is `output` or `processOutput`.
    pub output: u64,
    /// Where they begin, if it is `processOutput`.
    pub offset: u64,
}

/// Reads the first bytes of a command; `None` if it is none, or more of them are needed.
pub fn start(mut bytes: &[u8]) -> Option<Start> {
    loop {
        let tag = varint(&mut bytes)?;
        let value = varint(&mut bytes)?;
        let field = u32::try_from(tag >> 3).ok()?;
        match field {
            1 | 2 => {}
            OUTPUT => return Some(Start { field, output: value, offset: 0 }),
            PROCESS_OUTPUT => return process_output(bytes),
            _ => return Some(Start { field, output: 0, offset: 0 }),
        }
    }
}

/// Stream, offset and data come in this order.
fn process_output(mut body: &[u8]) -> Option<Start> {
    let mut offset = 0;
    loop {
        let tag = varint(&mut body)?;
        let value = varint(&mut body)?;
        match tag >> 3 {
            2 => offset = value,
            3 => return Some(Start { field: PROCESS_OUTPUT, output: value, offset }),
            _ => {}
        }
    }
}

enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

fn field<'a>(bytes: &mut &'a [u8]) -> Option<(u32, Value<'a>)> {
    let tag = varint(bytes)?;
    let value = match tag & 7 {
        0 => Value::Number(varint(bytes)?),
        2 => {
            let len = usize::try_from(varint(bytes)?).ok()?;
            let (value, rest) = bytes.split_at_checked(len)?;
            *bytes = rest;
            Value::Bytes(value)
        }
        _ => return None,
    };
    Some((u32::try_from(tag >> 3).ok()?, value))
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use pid1_sdk::api::{FIELDS, ProcessOutput};

    #[test]
    fn the_numbers_are_those_of_the_contract() {
        for (name, number) in [
            ("output", OUTPUT),
            ("error", ERROR),
            ("state", STATE),
            ("ok", OK),
            ("openChanRes", OPEN_CHAN_RES),
            ("closeChanRes", CLOSE_CHAN_RES),
            ("containerState", CONTAINER_STATE),
            ("processOutput", PROCESS_OUTPUT),
            ("processExited", PROCESS_EXITED),
        ] {
            assert!(FIELDS.contains(&(name, number)), "{name}");
        }
    }

    #[test]
    fn what_is_put_is_read_again() {
        for text in ["", "é", &"x".repeat(200), &"y".repeat(70_000)] {
            let mut bytes = Vec::new();
            put(&mut bytes, 300, "r", Body::Output(text.to_owned()));
            let head = head(&bytes).unwrap();
            let payload = &bytes[head.len + 4..];
            assert_eq!((head.opcode, head.payload), (2, payload.len()));
            let read = Message { channel: 300, field: OUTPUT, body: text.as_bytes(), reference: "r" };
            assert_eq!(message(payload), Some(read));
            let begin = start(&payload[..payload.len().min(20)]);
            assert_eq!(begin, Some(Start { field: OUTPUT, output: text.len() as u64, offset: 0 }));
        }
        assert_eq!(head(&[0x82, 126, 1]), None);
    }

    #[test]
    fn process_output_is_known_by_its_first_bytes() {
        let body = ProcessOutput { stream: 1, offset: 1 << 40, data: vec![b'x'; 70_000].into() };
        let command =
            Command { channel: 300, session: 7, body: Some(Body::ProcessOutput(body)), ..Command::default() };
        let begin = start(&command.encode_to_vec()[..64]);
        assert_eq!(begin, Some(Start { field: PROCESS_OUTPUT, output: 70_000, offset: 1 << 40 }));
    }
}
