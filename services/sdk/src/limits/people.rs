//! Bounds of what people tell each other, and of what their programs note.

use super::{KIB, MIB};

/// Longest message of a chat, as UTF-8: what somebody pastes there; more is a file.
pub const CHAT_TEXT_BYTES: usize = 64 * KIB;

/// Messages of a chat that are kept, as the published service has it.
pub const CHAT_MESSAGES: usize = 100;

/// What they may take together; a newcomer is sent all of them at once.
pub const CHAT_LOG_BYTES: usize = MIB;

/// Chats of which messages are kept: one for each group of people who work here. 256 MiB at most.
pub const CHAT_LOGS: usize = 256;

/// With so many, whoever may only look on begins no more: they push out nobody's.
pub const CHAT_LOGS_BEGUN_BY_VIEWERS: usize = CHAT_LOGS / 2;

/// Longest key of metadata: a path, or words that name something.
pub const META_KEY_BYTES: usize = 1024;

/// Longest value of metadata: notes of programs about the workspace; more is a file.
pub const META_VALUE_BYTES: usize = MIB;

/// Keys of metadata.
pub const META_KEYS: usize = 10_000;

/// What keys and values of metadata may take together.
pub const META_BYTES: usize = 64 * MIB;
