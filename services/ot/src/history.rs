//! What the store keeps of a document: its packets, whole texts now and then, and what is known to be in its file.
//!
//! - Entry 0 is the [`Head`]. Entry *v* is the packet that made version *v*, as it was sent.
//! - A whole text is kept in pieces under negative numbers, in a *slot* of its own, so that writing one never makes anybody
//!   wait for long. The *base* is where the history begins, the *latest* is where reading it again begins.
//! - When the packets since the latest are as long as the policy says ([`limits::OT_HISTORY_BYTES`]), a new text is kept,
//!   the latest becomes the base, and what was before it goes.

mod replay;

use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use pid1_sdk::api::OtPacket;
use pid1_sdk::store::{Claim, Name, Store};
use pid1_sdk::{Error, Result, limits};
use prost::Message;
use tracing::warn;

pub use replay::Found;

use crate::op::Op;
use crate::text::Text;

/// The space of documents in the store.
pub const SPACE: &str = "ot";

/// A piece is written in a millisecond: others who commit wait no longer.
const PIECE_BYTES: usize = 256 * 1024;

/// Numbers of one slot.
const SLOT_PIECES: i64 = 1 << 20;

/// Of a base, a latest, the file's text, and one that is being written.
const SLOTS: u32 = 4;

/// Entries that are read in one go.
const ENTRIES_AT_ONCE: u32 = 256;

/// Entries that are removed in a millisecond or two.
const REMOVED_AT_ONCE: usize = 500;

/// All that is known of a document, besides its packets and texts.
#[derive(Clone, PartialEq, Message)]
pub struct Head {
    /// Where the history begins.
    #[prost(message, optional, tag = "1")]
    pub base: Option<Kept>,
    /// The last text that was kept.
    #[prost(message, optional, tag = "2")]
    pub latest: Option<Kept>,
    /// What was last seen in the file, or written there.
    #[prost(message, optional, tag = "3")]
    pub file: Option<FileText>,
    /// The version that is being written to the file, or was when the agent ended.
    #[prost(uint32, tag = "4")]
    pub writing: u32,
    /// When it was opened, in seconds since 1970.
    #[prost(uint64, tag = "5")]
    pub opened: u64,
    /// Roughly what all of it takes, as of then.
    #[prost(uint64, tag = "6")]
    pub bytes: u64,
}

impl Head {
    /// A slot that nothing refers to. Whatever is left in there is overwritten.
    pub fn free_slot(&self) -> u32 {
        let used = self.slots();
        (0..SLOTS).find(|slot| !used.contains(slot)).unwrap_or_default()
    }

    fn slots(&self) -> Vec<u32> {
        let kept = [self.base, self.latest, self.file.and_then(|file| file.kept)];
        kept.iter().flatten().map(|kept| kept.slot).collect()
    }
}

/// A whole text.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct Kept {
    /// Which version it is; 0 if it never was one.
    #[prost(uint32, tag = "1")]
    pub version: u32,
    #[prost(uint32, tag = "2")]
    slot: u32,
    #[prost(uint32, tag = "3")]
    pieces: u32,
    #[prost(uint32, tag = "4")]
    crc32: u32,
    /// When it was kept, in seconds since 1970.
    #[prost(uint64, tag = "5")]
    at: u64,
}

/// What a file holds.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct FileText {
    /// The version that is; 0 if it is none.
    #[prost(uint32, tag = "1")]
    pub version: u32,
    /// The text, if it is no version.
    #[prost(message, optional, tag = "2")]
    pub kept: Option<Kept>,
    /// Its checksum.
    #[prost(uint32, tag = "3")]
    pub crc32: u32,
    /// The version at which it was seen: it is no older one.
    #[prost(uint32, tag = "4")]
    pub seen_at: u32,
}

/// Where one document's history is. Cheap to clone.
#[derive(Clone, Debug)]
pub struct History {
    store: Store,
    name: Name,
}

impl History {
    /// Claims the document of the file at `path`, from the root.
    ///
    /// # Errors
    /// If another channel has it, which the error names.
    pub fn claim(store: &Store, path: &Path, holder: &str) -> Result<Claim> {
        store.claim(SPACE, name(path), holder).map_err(|other| {
            let path = pid1_sdk::error::printable(&path.to_string_lossy());
            Error::new(format!("ot: {path} is edited on the {other} already: open that one"))
        })
    }

    /// The place for the history of the file at `path`. May wait for the disk, as most here.
    ///
    /// # Errors
    /// If the store cannot be used.
    pub fn open(store: &Store, path: &Path) -> Result<History> {
        let name = store.commit(|tx| tx.name(SPACE, name(path)))?;
        Ok(History { store: store.clone(), name })
    }

    /// The last version that is there, of whatever makes sense or not.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn last_version(&self) -> Result<u32> {
        let last = self.store.commit(|tx| tx.last(self.name))?.unwrap_or_default();
        let kept = self.head()?.and_then(|head| head.latest).map_or(0, |latest| latest.version);
        Ok(u32::try_from(last).unwrap_or_default().max(kept))
    }

    /// What is known, as it was committed last.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn head(&self) -> Result<Option<Head>> {
        let bytes = self.store.commit(|tx| tx.get(self.name, 0))?;
        Ok(bytes.and_then(|bytes| Head::decode(&*bytes).ok()))
    }

    /// A whole text that was kept; `None` if it is not what it was.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn text(&self, kept: Kept) -> Result<Option<Text>> {
        let first = *slot(kept.slot).end();
        let mut bytes = Vec::new();
        for piece in 0..i64::from(kept.pieces) {
            bytes.extend(self.store.commit(|tx| tx.get(self.name, first - piece))?.unwrap_or_default());
        }
        let text = String::from_utf8(bytes).ok().map(|text| Text::new(&text));
        Ok(text.and_then(|mut text| (text.crc32() == kept.crc32).then_some(text)))
    }

    /// Keeps a whole text, in steps. Nothing refers to it until a head that does is committed.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn keep(&self, text: &mut Text, version: u32, into: u32) -> Result<Kept> {
        let numbers = slot(into);
        self.remove(*numbers.start(), *numbers.end())?;
        let mut next = *numbers.end();
        let mut piece = Vec::with_capacity(PIECE_BYTES.min(text.length_bytes()));
        let mut put = |piece: &mut Vec<u8>| {
            self.store.commit(|tx| tx.put(self.name, next, piece))?;
            next -= 1;
            piece.clear();
            Ok::<_, Error>(())
        };
        for part in text.pieces() {
            piece.extend_from_slice(part.as_bytes());
            if piece.len() >= PIECE_BYTES {
                put(&mut piece)?;
            }
        }
        put(&mut piece)?;
        let pieces = u32::try_from(*numbers.end() - next).unwrap_or(u32::MAX);
        Ok(Kept { version, slot: into, pieces, crc32: text.crc32(), at: now() })
    }

    /// Makes packets lasting, in one step, and the head if it is given.
    ///
    /// # Errors
    /// If that cannot be written: then nothing is.
    pub fn append(&self, packets: &[(u32, Vec<u8>)], head: Option<&Head>) -> Result<()> {
        self.store.commit(|tx| {
            packets
                .iter()
                .try_for_each(|(version, packet)| tx.put(self.name, i64::from(*version), packet))?;
            head.map_or(Ok(()), |head| tx.put(self.name, 0, &head.encode_to_vec()))
        })
    }

    /// Makes a head lasting, and then removes what it does not refer to any more, in steps.
    ///
    /// # Errors
    /// If that cannot be written.
    pub fn replace(&self, head: &Head) -> Result<()> {
        self.append(&[], Some(head))?;
        let used = head.slots();
        let unused = (0..SLOTS).filter(|old| !used.contains(old)).map(slot);
        let before = 1..=head.base.map_or(0, |base| i64::from(base.version)) - 1;
        for old in unused.chain([before]) {
            if let Err(error) = self.remove(*old.start(), *old.end()) {
                // The next time removes it; the head is in force.
                warn!(error = %error, "what a document no longer needs stays for now");
            }
        }
        Ok(())
    }

    fn remove(&self, first: i64, last: i64) -> Result<()> {
        loop {
            let is_more = self.store.commit(|tx| tx.remove_some(self.name, first..=last, REMOVED_AT_ONCE))?;
            if !is_more {
                return Ok(());
            }
        }
    }

    /// Packets from one version to another, both included, as far as the history has them; it begins with one that puts
    /// all of its first text in place.
    ///
    /// # Errors
    /// If they cannot be read, or take more than `most_bytes`.
    pub fn fetch(&self, from: u32, to: u32, most_bytes: usize) -> Result<Vec<OtPacket>> {
        // What the history begins with may change while it is read.
        for _ in 0..3 {
            if let Some(packets) = self.try_fetch(from, to, most_bytes)? {
                return Ok(packets);
            }
        }
        Err(Error::new(format!("ot: the history has no versions {from} to {to}")))
    }

    /// `None` if something was not there.
    fn try_fetch(&self, from: u32, to: u32, most_bytes: usize) -> Result<Option<Vec<OtPacket>>> {
        let base = self.head()?.and_then(|head| head.base).unwrap_or_default();
        if from > to || to < base.version {
            return Ok(Some(Vec::new()));
        }
        let begin = from.max(base.version).max(1);
        let size = self.store.commit(|tx| tx.size_bytes(self.name, i64::from(begin)..=i64::from(to)))?;
        let too_much = || {
            Err(Error::new(format!(
                "ot: the versions {from} to {to} take more than the {most_bytes} bytes that one message may have: ask for \
                 fewer"
            )))
        };
        if size > most_bytes {
            return too_much();
        }
        let mut packets = Vec::new();
        let mut next = begin;
        if begin == base.version && (from < begin || self.entries(begin, begin)?.is_empty()) {
            let Some(text) = self.text(base)? else { return Ok(None) };
            if size + text.length_bytes() > most_bytes {
                return too_much();
            }
            packets.push(whole(&text, base.version, base.crc32, base.at));
            next = base.version.saturating_add(1);
        }
        // In steps: others commit in between.
        while next <= to {
            let entries = self.entries(next, to.min(next.saturating_add(ENTRIES_AT_ONCE)))?;
            let Some((last, _)) = entries.last() else { break };
            next = u32::try_from(*last).unwrap_or(u32::MAX).saturating_add(1);
            let decoded = entries.iter().map(|(_, bytes)| OtPacket::decode(&**bytes));
            packets.extend(
                decoded.collect::<Result<Vec<_>, _>>().map_err(|error| Error::new(error.to_string()))?,
            );
        }
        let is_whole = packets.iter().map(|packet| packet.version).eq(begin..=to);
        Ok(is_whole.then_some(packets))
    }

    /// The changes that made these versions, if all are there and not too long.
    pub fn ops(&self, from: u32, to: u32) -> Option<Vec<Op>> {
        let numbers = i64::from(from)..=i64::from(to);
        let size = self.store.commit(|tx| tx.size_bytes(self.name, numbers)).ok()?;
        if size > limits::OT_BEHIND_BYTES {
            return None;
        }
        let entries = self.entries(from, to).ok()?;
        let ops = entries.iter().map(|(_, bytes)| Some(Op::from_wire(OtPacket::decode(&**bytes).ok()?.ops)));
        ops.collect::<Option<Vec<_>>>().filter(|ops| ops.len() == (to - from + 1) as usize)
    }

    fn entries(&self, from: u32, to: u32) -> Result<Vec<(i64, Vec<u8>)>> {
        self.store.commit(|tx| tx.range(self.name, i64::from(from)..=i64::from(to)))
    }
}

/// The name of a file's document in the store.
pub fn name(path: &Path) -> &[u8] {
    path.as_os_str().as_bytes()
}

/// The numbers of a slot. The first piece has the highest, so that the last is found first.
fn slot(slot: u32) -> std::ops::RangeInclusive<i64> {
    let end = -1 - i64::from(slot) * SLOT_PIECES;
    end - SLOT_PIECES + 1..=end
}

/// The packet that puts all of a text in place.
pub fn whole(text: &Text, version: u32, crc32: u32, committed_seconds: u64) -> OtPacket {
    let committed =
        prost_types::Timestamp { seconds: i64::try_from(committed_seconds).unwrap_or_default(), nanos: 0 };
    OtPacket {
        spooky_version: version,
        version,
        ops: Op::insert(text.whole()).to_wire(),
        crc32,
        committed: Some(committed),
        ..OtPacket::default()
    }
}

/// In seconds since 1970.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
