//! Bounds of documents that many edit at once, and of their histories.

use std::time::Duration;

use super::{KIB, MIB};

/// Longest document, as UTF-8.
pub const OT_BYTES: usize = 50_000_000;

/// Changes of a document that are kept in memory, for those who have not seen them yet; older ones are read from the
/// store.
pub const OT_RECENT_BYTES: usize = 128 * KIB;

/// How many versions a change may be behind.
pub const OT_BEHIND: u32 = 10_000;

/// What those may take in the store, where they are read while everybody waits.
pub const OT_BEHIND_BYTES: usize = MIB;

/// Steps that are looked at to make one change fit what came before it: milliseconds, for which everybody waits.
pub const OT_BEHIND_STEPS: usize = 1_000_000;

/// Steps of one change of a client: one for each place that was touched, and one for the way there.
pub const OT_STEPS: usize = 100_000;

/// Text that one change of a client may bring: more is a file, to be written as one.
pub const OT_CHANGE_BYTES: usize = 8 * MIB;

/// A longer document is given to one session once.
pub const OT_AGAIN_BYTES: usize = MIB;

/// A document's history reaches back over as many bytes of changes, or twice the length of its text if that is more; and
/// at most twice as far.
pub const OT_HISTORY_BYTES: usize = MIB;

/// Documents of which the store keeps the history. Those that were not open for the longest time go first.
pub const OT_DOCUMENTS: usize = 1_000;

/// What their histories may take together, roughly.
pub const OT_HISTORIES_BYTES: u64 = 1 << 30;

/// Cursors of one session in one document: one for each place where it types.
pub const OT_CURSORS: usize = 64;

/// What a cursor takes, with the user in it: they are all sent to whoever joins.
pub const OT_CURSOR_BYTES: usize = KIB;

/// Requests to link or write a document that wait at once.
pub const OT_WAITING: usize = 1_024;

/// Requests for old changes of one document that are answered at once: each may take as much as a message.
pub const OT_FETCHES: usize = 2;

/// How many of them may wait for that.
pub const OT_FETCHES_WAITING: usize = 64;

/// How often a document is written once more because somebody else has just changed its file, before that is put off.
pub const OT_ROUNDS: u32 = 8;

/// From the news that a file has changed until it is read: many programs write in two steps.
pub const OT_SETTLE: Duration = Duration::from_millis(30);

/// From something that did not work on the disk until it is tried again.
pub const OT_RETRY: Duration = Duration::from_secs(2);

/// A document that is changed all the time is written this many times later than one that rests.
pub const OT_AUTOSAVE_FACTOR: u32 = 5;
