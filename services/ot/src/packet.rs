//! Packets: changes as they are kept and sent.

use std::time::{SystemTime, UNIX_EPOCH};

use pid1_sdk::api::OtPacket;

use crate::op::Op;

/// Who made a change, and how it knows it again.
#[derive(Clone, Copy, Debug)]
pub struct Author {
    /// Of its token.
    pub user_id: u32,
    /// Its own.
    pub nonce: u32,
    /// What wrote it, as it says.
    pub author: i32,
}

/// The packet that makes `version`. Both numbers are that version: clients look at one or the other. What others have
/// done to the file has no author.
pub fn of(version: u32, op: &Op, crc32: u32, author: Option<Author>) -> OtPacket {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let (seconds, nanos) = (i64::try_from(now.as_secs()), i32::try_from(now.subsec_nanos()));
    OtPacket {
        spooky_version: version,
        version,
        ops: op.to_wire(),
        crc32,
        committed: Some(prost_types::Timestamp {
            seconds: seconds.unwrap_or_default(),
            nanos: nanos.unwrap_or_default(),
        }),
        nonce: author.map_or(0, |author| author.nonce),
        user_id: author.map_or(0, |author| author.user_id),
        author: author.map_or(0, |author| author.author),
    }
}

/// The version that a change was made for. Older clients say the last they have seen, later ones the one they make.
pub fn base(packet: &OtPacket) -> u32 {
    packet.version.checked_sub(1).unwrap_or(packet.spooky_version)
}
