//! The messages of `api.proto`, generated when the crate is built.
//!
//! [`Command`] is the envelope and [`command::Body`] what it says; [`command::Body::name`] is for logs and
//! error texts, [`FIELDS`] for tables and tests. Their documentation is that of `api.proto`, which is the
//! contract with clients; nothing is added here. Encoding frames, size limits and copying the `ref` are no
//! business of this module.

#![allow(
    missing_docs,
    deprecated,
    clippy::all,
    clippy::pedantic,
    clippy::restriction,
    reason = "what generators write is judged by what it does, not by the lints for code written by hand"
)]

include!(concat!(env!("OUT_DIR"), "/api.rs"));
include!(concat!(env!("OUT_DIR"), "/bodies.rs"));

/// `api.proto` and what it imports, compiled: an encoded `google.protobuf.FileDescriptorSet`, without
/// comments.
pub const DESCRIPTOR: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/api.descriptor"));
