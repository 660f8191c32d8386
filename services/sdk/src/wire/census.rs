//! Counts what a message would become before it is decoded.
//!
//! Two bytes on the wire can be an empty list element that takes hundreds in memory, so a message well under the size
//! limit could take gigabytes. This walks the bytes along the contract's own schema and stops at a bound; payloads are
//! skipped, so it costs next to nothing.

use std::collections::HashMap;

use prost::Message;
use prost::encoding::{WireType, decode_key, decode_varint};
use prost_types::FileDescriptorSet;
use prost_types::field_descriptor_proto::Type;

use crate::api::DESCRIPTOR;
use crate::limits;

/// As deep as the decoder itself goes.
const DEPTH: usize = 100;

/// What a string, byte string or message weighs, in units of one number of a list: it takes some 64 bytes in memory at
/// the least, a number 4 or 8.
const ELEMENT: usize = 16;

/// Which fields of which message hold messages or lists of numbers, and which message is looked at.
#[derive(Debug)]
pub struct Census {
    /// For each message, by field number, what is in it.
    messages: Vec<HashMap<u32, Inside>>,
    root: usize,
}

#[derive(Clone, Copy, Debug)]
enum Inside {
    Message(usize),
    /// Numbers of at least one byte each, without heads of their own.
    Numbers,
}

/// The message holds more than [`limits::MESSAGE_ELEMENTS`] strings, byte strings and messages, or 16 times as many
/// numbers.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("it holds more than {} elements", limits::MESSAGE_ELEMENTS)]
pub struct TooMany;

impl Default for Census {
    /// Of a `Command`.
    fn default() -> Self {
        Self::of(DESCRIPTOR, "api.Command")
    }
}

impl Census {
    /// So many bytes cannot hold too much, whatever they are: an element has two, a number one. Whoever has no more need
    /// not look.
    pub const SMALL_BYTES: usize = 2 * limits::MESSAGE_ELEMENTS;

    /// Of the message of that full name, from an encoded `FileDescriptorSet` that a build has made.
    pub fn of(descriptor: &[u8], message: &str) -> Self {
        let set = FileDescriptorSet::decode(descriptor).unwrap_or_default();
        let mut all = Vec::new();
        for file in &set.file {
            let mut open: Vec<_> =
                file.message_type.iter().map(|m| (format!(".{}", file.package()), m)).collect();
            while let Some((scope, message)) = open.pop() {
                let name = format!("{scope}.{}", message.name());
                open.extend(message.nested_type.iter().map(|nested| (name.clone(), nested)));
                all.push((name, message));
            }
        }
        let place: HashMap<&str, usize> =
            all.iter().enumerate().map(|(at, (name, _))| (name.as_str(), at)).collect();
        let inside = |message: &prost_types::DescriptorProto| {
            let fields = message.field.iter().filter_map(|field| {
                let inside = match field.r#type() {
                    Type::Message => Inside::Message(*place.get(field.type_name())?),
                    Type::String | Type::Bytes => return None,
                    _ => Inside::Numbers,
                };
                Some((field.number() as u32, inside))
            });
            fields.collect()
        };
        let root = place.get(format!(".{message}").as_str()).copied().unwrap_or_default();
        Census { messages: all.iter().map(|(_, message)| inside(message)).collect(), root }
    }

    /// Checks one encoded message. What is not well-formed is left to the decoder to refuse.
    ///
    /// # Errors
    /// It holds more than any real message does; see [`TooMany`].
    pub fn check(&self, encoded: &[u8]) -> Result<(), TooMany> {
        let mut left = limits::MESSAGE_ELEMENTS * ELEMENT;
        self.walk(self.root, encoded, &mut left, DEPTH)
    }

    fn walk(&self, message: usize, mut bytes: &[u8], left: &mut usize, depth: usize) -> Result<(), TooMany> {
        while let Some((number, value)) = next_field(&mut bytes) {
            let inside = self.messages.get(message).and_then(|fields| fields.get(&number));
            let weight = match (value, inside) {
                (None, _) => 1,
                (Some(value), Some(Inside::Numbers)) => value.len(),
                (Some(_), _) => ELEMENT,
            };
            *left = left.checked_sub(weight).ok_or(TooMany)?;
            if let (Some(value), Some(Inside::Message(inside)), 1..) = (value, inside, depth) {
                self.walk(*inside, value, left, depth - 1)?;
            }
        }
        Ok(())
    }
}

/// The next field's number, and its bytes if it has a length. `None` at the end or where the encoding is broken.
fn next_field<'a>(bytes: &mut &'a [u8]) -> Option<(u32, Option<&'a [u8]>)> {
    let (number, kind) = decode_key(bytes).ok()?;
    let skipped = match kind {
        WireType::Varint => {
            decode_varint(bytes).ok()?;
            0
        }
        WireType::SixtyFourBit => 8,
        WireType::ThirtyTwoBit => 4,
        WireType::LengthDelimited => {
            let length = usize::try_from(decode_varint(bytes).ok()?).ok()?;
            let (value, rest) = bytes.split_at_checked(length)?;
            *bytes = rest;
            return Some((number, Some(value)));
        }
        // Not of proto3.
        WireType::StartGroup | WireType::EndGroup => return None,
    };
    *bytes = bytes.get(skipped..)?;
    Some((number, None))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{
        Audio, Command, Exec, File, OtFetchResponse, OtPacket, OtRuneTransformOp, command::Body,
    };

    fn command(body: Body) -> Vec<u8> {
        Command { channel: 1, r#ref: "r".into(), body: Some(body), ..Command::default() }.encode_to_vec()
    }

    #[test]
    fn many_small_elements_are_refused_wherever_they_are() {
        let census = Census::default();
        let args = vec![String::new(); limits::MESSAGE_ELEMENTS];
        let flat = command(Body::Exec(Exec { args, ..Exec::default() }));
        assert_eq!(census.check(&flat), Err(TooMany));
        let data = vec![1; limits::MESSAGE_ELEMENTS * ELEMENT];
        assert_eq!(census.check(&command(Body::Audio(Audio { data }))), Err(TooMany), "packed");
        let ops = vec![OtRuneTransformOp::default(); limits::MESSAGE_ELEMENTS / 2];
        let packet = OtPacket { ops, ..OtPacket::default() };
        let deep = command(Body::OtFetchResponse(OtFetchResponse { packets: vec![packet; 3] }));
        assert_eq!(census.check(&deep), Err(TooMany));
    }

    #[test]
    fn what_is_small_holds_few() {
        let census = Census::default();
        // Nothing is heavier than an empty string, in two bytes.
        let densest = |bytes: usize| [15 << 3 | 2, 0].repeat(bytes / 2);
        assert_eq!(census.check(&densest(Census::SMALL_BYTES)), Ok(()));
        assert_eq!(census.check(&densest(Census::SMALL_BYTES + 2)), Err(TooMany));
    }

    #[test]
    fn large_payloads_and_broken_bytes_pass() {
        let census = Census::default();
        let content = bytes::Bytes::from(vec![b'\n'; 4 << 20]); // as elements they would be far too many
        let file = File { path: "a".into(), content, ..File::default() };
        assert_eq!(census.check(&command(Body::Write(file))), Ok(()));
        for broken in [&b"\xff\xff\xff"[..], b"\x0a\xff\xff\xff\xff\x0f", b"\x0b\x0c", b"\x09\x00"] {
            assert_eq!(census.check(broken), Ok(()), "left to the decoder");
        }
    }
}
