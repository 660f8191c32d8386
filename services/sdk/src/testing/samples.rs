//! Every body of the contract, filled with what nobody sends who means well. Made from the contract itself, so a new
//! message is covered on the day it is added.

use std::collections::HashMap;

use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint};
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, FieldDescriptorProto, FileDescriptorSet};

use crate::api::{Command, DESCRIPTOR, command::Body};

/// One body, and what it is filled with.
#[derive(Clone, Debug)]
pub struct Sample {
    /// What stands in it, for the text of a failure.
    pub filling: &'static str,
    /// The body.
    pub body: Body,
}

/// What every string, byte string and number of a body is set to.
struct Filling {
    name: &'static str,
    text: &'static [u8],
    bytes: &'static [u8],
    number: u64,
    real: f64,
    /// Elements of each list and map, with all the same content.
    elements: usize,
    /// How deep messages within messages are filled.
    depth: usize,
}

/// Above what a terminal or a path takes in one piece.
const LONG: &[u8] = &[b'x'; 16 << 10];

/// No text ends a line, and no path leads to anything: what is sent to a shell or a file service that fails its test
/// must not harm the machine.
const FILLINGS: &[Filling] = &[
    Filling { name: "nothing", text: b"", bytes: b"", number: 0, real: 0.0, elements: 0, depth: 0 },
    Filling { name: "zeroes", text: b"", bytes: b"", number: 0, real: -0.0, elements: 2, depth: 3 },
    Filling {
        name: "NULs and -1",
        text: b"a\0b",
        bytes: b"\0",
        number: u64::MAX,
        real: f64::NAN,
        elements: 1,
        depth: 3,
    },
    Filling {
        name: "escape sequences and the largest number of 32 bits",
        text: b"\x1b]0;x\x07",
        bytes: b"\xff\xc3",
        number: i32::MAX as u64,
        real: f64::INFINITY,
        elements: 1,
        depth: 3,
    },
    Filling {
        name: "a path out of the workspace and the largest number of 64 bits",
        text: b"../../pid1-conformance/none",
        bytes: b"../../pid1-conformance/none",
        number: i64::MAX as u64,
        real: f64::MIN,
        elements: 2,
        depth: 3,
    },
    Filling { name: "long text", text: LONG, bytes: LONG, number: 1, real: 1.0, elements: 2, depth: 2 },
];

/// Every body of the contract with every filling, in the order of their numbers.
pub fn samples() -> Vec<Sample> {
    let set = FileDescriptorSet::decode(DESCRIPTOR).expect("made by our own build");
    let contract = Contract::new(&set);
    let bodies = contract.0[".api.Command"].field.iter().filter(|field| field.oneof_index == Some(0));
    let mut fields: Vec<_> = bodies.collect();
    fields.sort_by_key(|field| field.number());
    let every = fields.into_iter().flat_map(|field| {
        FILLINGS.iter().enumerate().map(|(nth, filling)| {
            let mut bytes = Vec::new();
            contract.put(field, filling, nth, filling.depth, &mut bytes);
            let command = Command::decode(&bytes[..]).expect("encoded as the contract says");
            Sample { filling: filling.name, body: command.body.expect("the field is one of the bodies") }
        })
    });
    every.collect()
}

/// All messages by their full names.
struct Contract<'a>(HashMap<String, &'a DescriptorProto>);

impl<'a> Contract<'a> {
    fn new(set: &'a FileDescriptorSet) -> Self {
        let mut all = HashMap::new();
        for file in &set.file {
            let mut open: Vec<_> =
                file.message_type.iter().map(|m| (format!(".{}", file.package()), m)).collect();
            while let Some((scope, message)) = open.pop() {
                let name = format!("{scope}.{}", message.name());
                open.extend(message.nested_type.iter().map(|nested| (name.clone(), nested)));
                all.insert(name, message);
            }
        }
        Contract(all)
    }

    /// Encodes `field` once; `nth` chooses among alternatives within it.
    fn put(
        &self,
        field: &FieldDescriptorProto,
        filling: &Filling,
        nth: usize,
        depth: usize,
        out: &mut Vec<u8>,
    ) {
        let mut head = |wire| encode_key(field.number() as u32, wire, out);
        match field.r#type() {
            Type::Double | Type::Fixed64 | Type::Sfixed64 => {
                head(WireType::SixtyFourBit);
                out.extend(filling.real.to_le_bytes());
            }
            Type::Float | Type::Fixed32 | Type::Sfixed32 => {
                head(WireType::ThirtyTwoBit);
                out.extend((filling.real as f32).to_le_bytes());
            }
            Type::String | Type::Bytes | Type::Message | Type::Group => {
                head(WireType::LengthDelimited);
                let value = match field.r#type() {
                    Type::String => filling.text.to_vec(),
                    Type::Bytes => filling.bytes.to_vec(),
                    _ => self.message(field.type_name(), filling, nth, depth),
                };
                encode_varint(value.len() as u64, out);
                out.extend(value);
            }
            _ => {
                head(WireType::Varint);
                encode_varint(filling.number, out);
            }
        }
    }

    fn message(&self, name: &str, filling: &Filling, nth: usize, depth: usize) -> Vec<u8> {
        let mut out = Vec::new();
        let Some(inside) = depth.checked_sub(1) else { return out };
        let message = self.0[name];
        for (at, field) in message.field.iter().enumerate() {
            let alternatives: Vec<usize> = match field.oneof_index {
                None => vec![at],
                Some(_) => (0..message.field.len())
                    .filter(|other| message.field[*other].oneof_index == field.oneof_index)
                    .collect(),
            };
            if alternatives[nth % alternatives.len()] != at {
                continue;
            }
            let times = if field.label() == Label::Repeated { filling.elements } else { 1 };
            for _ in 0..times {
                self.put(field, filling, nth, inside, &mut out);
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{Exec, FIELDS, ProcessAttach, process_attach::Target};

    #[test]
    fn every_body_is_there_with_every_filling() {
        let all = samples();
        assert_eq!(all.len(), FIELDS.len() * FILLINGS.len());
        for ((name, _), of_one) in FIELDS.iter().zip(all.chunks(FILLINGS.len())) {
            assert!(of_one.iter().all(|sample| sample.body.name() == *name), "{name}");
        }
        let has = |wanted: Body| all.iter().any(|sample| sample.body == wanted);
        assert!(has(Body::Input(String::new())) && has(Body::Input("a\0b".into())));
        assert!(all.iter().any(|s| matches!(&s.body, Body::Exec(Exec { args, .. }) if args.len() == 2)));
        let target = |wanted: fn(&Target) -> bool| {
            all.iter().any(|sample| match &sample.body {
                Body::ProcessAttach(ProcessAttach { target: Some(target), .. }) => wanted(target),
                _ => false,
            })
        };
        assert!(target(|t| matches!(t, Target::Id(u64::MAX))) || target(|t| matches!(t, Target::Pid(-1))));
        let total_bytes: usize = all
            .iter()
            .map(|sample| Command { body: Some(sample.body.clone()), ..Command::default() }.encoded_len())
            .sum();
        assert!(total_bytes < 32 << 20, "{total_bytes} bytes are too much for every service of every test");
    }
}
