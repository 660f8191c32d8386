//! The wire contract is what it was: `api.proto` compared, row by row, with the contract of December 2020 and
//! with the one that today's npm package carries, and a few messages whose bytes are spelled out.
//!
//! What services do with the messages is not tested here.

use std::collections::{BTreeMap, BTreeSet};

use pid1_sdk::api::{self, Command, command::Body};
use prost::Message;

mod table;
use table::{Row, Rows};

/// The contract this agent implements; frozen.
const SEED: &str = include_str!("fixtures/seed-table.txt");
/// What `@replit/protocol` says today; renewed by `tests/clients/contract`.
const NPM: &str = include_str!("fixtures/npm-table.txt");

/// From here on Command fields are this project's own.
const FIRST_OWN_FIELD: i32 = 2000;

/// Where the two contracts differ and the older one holds. The difference is one of names: the bytes are the
/// same, so both kinds of client are understood.
const SEED_WINS: &[(&str, i32)] = &[
    // Later renamed readMetaRequest, writeMetaRequest and appendMetaRequest.
    ("Command", 360),
    ("Command", 361),
    ("Command", 362),
    // Later named op, with steps of a type called OTOpComponent.
    ("OTPacket", 2),
];

#[test]
fn every_row_of_the_seed_is_ours() {
    let ours = Rows::of_descriptor(api::DESCRIPTOR);
    let missing: Vec<_> = Rows::parse(SEED).into_iter().filter(|row| !ours.contains(row)).collect();
    assert!(missing.is_empty(), "not in api.proto as the seed has it: {missing:#?}");
}

#[test]
fn every_row_of_ours_has_a_source() {
    let (seed, npm) = (Rows::parse(SEED), Rows::parse(NPM));
    let strangers: Vec<_> = Rows::of_descriptor(api::DESCRIPTOR)
        .into_iter()
        .filter(|row| !seed.contains(row) && !npm.contains(row) && !is_own(row))
        .collect();
    assert!(strangers.is_empty(), "in api.proto, but in no contract: {strangers:#?}");
}

/// Taking a later field under a number that the seed uses for something else would break one kind of client.
#[test]
fn seed_and_npm_clash_only_where_listed() {
    let npm: BTreeMap<_, _> =
        Rows::parse(NPM).into_iter().filter_map(|row| Some((row.key()?, row))).collect();
    let clashes: BTreeSet<_> = Rows::of_descriptor(api::DESCRIPTOR)
        .into_iter()
        .filter_map(|row| {
            let key = row.key()?;
            (*npm.get(&key)? != row).then_some(key)
        })
        .collect();
    let listed: BTreeSet<_> = SEED_WINS.iter().map(|&(owner, number)| (owner.to_owned(), number)).collect();
    assert_eq!(clashes, listed);
}

#[test]
fn npm_uses_none_of_our_own_numbers() {
    let taken: Vec<_> = Rows::parse(NPM).into_iter().filter(is_own).collect();
    assert!(taken.is_empty(), "{taken:#?}");
}

#[test]
fn every_body_of_the_seed_has_its_name_and_number() {
    let mut bodies = 0;
    for row in Rows::parse(SEED) {
        let Row::Field { message, number, name, label, .. } = row else { continue };
        if message == "Command" && label == "oneof:body" {
            bodies += 1;
            assert!(api::FIELDS.contains(&(name.as_str(), number as u32)), "{name} = {number}");
        }
    }
    // With channel, session and ref these are the 107 fields of the seed's Command.
    assert_eq!(bodies, 104);
}

#[test]
fn bodies_know_their_own_name_and_number() {
    for &(name, number) in api::FIELDS {
        let body = empty_body(number);
        assert_eq!((body.name(), body.number()), (name, number));
    }
}

/// Clients newer than this agent send bodies it does not have; those must not cost the connection.
#[test]
fn unknown_fields_and_bodies_are_skipped() {
    // channel 5, then body 429 with a message of one byte, trace_info (1001) and ref "r".
    let bytes =
        [&[0x08, 5][..], &key(429, 2), &[1, 0], &key(1001, 2), &[0], &key(1000, 2), &[1, b'r']].concat();
    let command = Command::decode(&bytes[..]).expect("unknown fields are no error");
    assert_eq!(command, Command { channel: 5, r#ref: "r".into(), ..Command::default() });
}

#[test]
fn open_chan_has_the_bytes_that_clients_send() {
    // protobufjs writes the zeros of channel and session out.
    let bytes = b"\x08\x00\x10\x00\x1a\x07\x0a\x05shell\xc2\x3e\x01x";
    let command = Command::decode(&bytes[..]).expect("a client's own bytes");
    let open = api::OpenChannel { service: "shell".into(), ..api::OpenChannel::default() };
    assert_eq!(
        command,
        Command { body: Some(Body::OpenChan(open)), r#ref: "x".into(), ..Command::default() }
    );
}

/// `input_close` is the one body of a foreign type, and the seed's oddest names are the ones easily
/// "corrected".
#[test]
fn odd_bodies_survive_a_round_trip() {
    let bodies = [
        Body::InputClose(()),
        Body::MutliFileAuthRes(api::MultiFileAuthRes::default()),
        Body::VcrLog(api::VcrLog {
            log: vec![api::VcrEntry { command: Some(Command::default()), ..api::VcrEntry::default() }],
            logfile: None,
        }),
        Body::PtyConfig(api::PtyConfig { pipe_mode: true }),
        Body::ExitCodeEvent(-1),
        // Present with offset 0 is not the same as without an offset.
        Body::ProcessStdin(api::ProcessStdin { offset: Some(0), ..api::ProcessStdin::default() }),
    ];
    for body in bodies {
        let command = Command { channel: 3, body: Some(body), ..Command::default() };
        assert_eq!(Command::decode(&command.encode_to_vec()[..]).as_ref(), Ok(&command));
    }
}

/// A recording can hold commands that hold recordings; depth must end in an error, not in a full stack.
#[test]
fn nested_recordings_are_refused_at_some_depth() {
    let mut bytes = Vec::new();
    for _ in 0..10_000 {
        for field in [3, 1, 233] {
            bytes = [key(field, 2), varint(bytes.len() as u64), bytes].concat();
        }
    }
    let error = Command::decode(&bytes[..]).expect_err("far too deep").to_string();
    assert!(error.contains("recursion limit"), "{error}");
}

/// Whether a row belongs to the process service.
fn is_own(row: &Row) -> bool {
    match row {
        Row::Field { message, number, .. } if message == "Command" => *number >= FIRST_OWN_FIELD,
        Row::Message { name: owner }
        | Row::Field { message: owner, .. }
        | Row::Value { owner, .. }
        | Row::Reserved { message: owner, .. } => owner.starts_with("Process"),
    }
}

/// The body with this number and nothing in it.
fn empty_body(number: u32) -> Body {
    // A message and a string are both empty with length 0; numbers and booleans are a 0 where a length would
    // be.
    [2, 0]
        .into_iter()
        .find_map(|wire_type| Command::decode(&[key(number, wire_type), vec![0]].concat()[..]).ok()?.body)
        .unwrap_or_else(|| panic!("body {number} decodes from neither wire type"))
}

fn key(field: u32, wire_type: u32) -> Vec<u8> {
    varint(u64::from(field << 3 | wire_type))
}

fn varint(value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    prost::encoding::encode_varint(value, &mut bytes);
    bytes
}
