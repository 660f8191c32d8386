//! The messages inside Replit's signed tokens, as far as an agent reads or writes them. Names and numbers are those of
//! the published schema (`GovalSigningAuthority`, `GovalToken`, `ReplToken`); what is not listed is skipped.

use prost::Message;
use prost_types::Timestamp;

/// The footer: which key signed, and how the payload is laid out.
#[derive(Clone, PartialEq, Message)]
pub(super) struct SigningAuthority {
    #[prost(string, tag = "1")]
    pub(super) key_id: String,
    /// Another token that vouches for a key of its own.
    #[prost(string, tag = "2")]
    pub(super) signed_cert: String,
    #[prost(int32, tag = "3")]
    pub(super) version: i32,
    #[prost(string, tag = "4")]
    pub(super) issuer: String,
}

/// `SigningAuthority.version`: the payload is a [`ReplToken`].
pub(super) const BARE_REPL_TOKEN: i32 = 0;

/// `SigningAuthority.version`: the payload is a [`GovalToken`].
pub(super) const TYPE_AWARE_TOKEN: i32 = 1;

/// A token that says of what kind it is.
#[derive(Clone, PartialEq, Message)]
pub(super) struct GovalToken {
    #[prost(message, optional, tag = "1")]
    pub(super) iat: Option<Timestamp>,
    #[prost(message, optional, tag = "2")]
    pub(super) exp: Option<Timestamp>,
    #[prost(string, tag = "3")]
    pub(super) replid: String,
    #[prost(message, optional, tag = "4")]
    pub(super) repl_token: Option<ReplToken>,
}

/// Access to one container.
#[derive(Clone, PartialEq, Message)]
pub(super) struct ReplToken {
    #[prost(message, optional, tag = "1")]
    pub(super) iat: Option<Timestamp>,
    #[prost(message, optional, tag = "2")]
    pub(super) exp: Option<Timestamp>,
    #[prost(message, optional, tag = "7")]
    pub(super) repl: Option<Repl>,
    /// In place of `repl`.
    #[prost(message, optional, tag = "8")]
    pub(super) id: Option<Repl>,
    #[prost(message, optional, tag = "10")]
    pub(super) resource_limits: Option<ResourceLimits>,
    #[prost(message, optional, tag = "13")]
    pub(super) presenced: Option<Presenced>,
}

/// `Repl` and `ReplID` both begin so.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Repl {
    #[prost(string, tag = "1")]
    pub(super) id: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ResourceLimits {
    #[prost(bool, tag = "7")]
    pub(super) restrict_network: bool,
}

/// The person.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Presenced {
    #[prost(uint32, tag = "1")]
    pub(super) bearer_id: u32,
    #[prost(string, tag = "2")]
    pub(super) bearer_name: String,
}
