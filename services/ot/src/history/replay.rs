//! Reading a history: the last text, and those on the way that may be what the file holds.

use pid1_sdk::Result;
use pid1_sdk::api::OtPacket;
use prost::Message;
use tracing::warn;

use super::{ENTRIES_AT_ONCE, FileText, Head, History};
use crate::op::Op;
use crate::text::Text;

/// A history that was there.
#[derive(Debug)]
pub struct Found {
    /// What is known.
    pub head: Head,
    /// The last version and its text.
    pub version: u32,
    /// See there.
    pub text: Text,
    /// How long the packets since the latest kept text are.
    pub packets_bytes: usize,
    /// The text that was last known to be in the file.
    pub file: Option<Text>,
    /// The text that was being written when the agent ended.
    pub writing: Option<Text>,
    /// The version, and its text, that has this checksum, if any does that the file may hold.
    pub matching: Option<(u32, Text)>,
}

impl History {
    /// What is there. `None` if nothing is, or nothing that makes sense: then what there was is gone.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn find(&self, file_crc32: Option<u32>) -> Result<Option<Found>> {
        let is_there = self.store.commit(|tx| tx.last(self.name))?.is_some();
        if !is_there {
            return Ok(None);
        }
        let found = self.head()?.and_then(|head| self.replay(head, file_crc32).transpose());
        match found {
            Some(found) => found.map(Some),
            None => {
                warn!("the history of a document does not add up; it begins anew");
                Ok(None)
            }
        }
    }

    fn replay(&self, head: Head, file_crc32: Option<u32>) -> Result<Option<Found>> {
        let (Some(base), Some(latest), Some(file)) = (head.base, head.latest, head.file) else {
            return Ok(None);
        };
        // As far back as a version that may be in the file.
        let oldest = if file.version > 0 && file.version < latest.version { base } else { latest };
        let Some(mut text) = self.text(oldest)? else { return Ok(None) };
        let (mut version, mut packets_bytes) = (oldest.version, 0);
        let mut texts = Wanted { file, writing: head.writing, crc32: file_crc32, ..Wanted::default() };
        texts.look(version, &text, oldest.crc32);
        loop {
            let entries = self.entries(version.saturating_add(1), version.saturating_add(ENTRIES_AT_ONCE))?;
            if entries.is_empty() {
                break;
            }
            for (number, bytes) in entries {
                let Ok(packet) = OtPacket::decode(&*bytes) else { return Ok(None) };
                if i64::from(version) + 1 != number || text.apply(&Op::from_wire(packet.ops)).is_err() {
                    return Ok(None);
                }
                version += 1;
                if version > latest.version {
                    packets_bytes += bytes.len();
                }
                texts.look(version, &text, packet.crc32);
                if text.length_bytes() < 64 * 1024 && text.crc32() != packet.crc32 {
                    return Ok(None);
                }
            }
        }
        if let Some(kept) = file.kept {
            texts.file_text = self.text(kept)?;
        }
        let (file, writing, matching) = (texts.file_text, texts.writing_text, texts.matching);
        Ok(Some(Found { head, version, text, packets_bytes, file, writing, matching }))
    }
}

/// Texts to be picked out while a history is read.
#[derive(Default)]
struct Wanted {
    file: FileText,
    writing: u32,
    crc32: Option<u32>,
    file_text: Option<Text>,
    writing_text: Option<Text>,
    matching: Option<(u32, Text)>,
}

impl Wanted {
    fn look(&mut self, version: u32, text: &Text, crc32: u32) {
        if version == self.file.version {
            self.file_text = Some(text.clone());
        }
        if version == self.writing {
            self.writing_text = Some(text.clone());
        }
        if self.crc32 == Some(crc32) && version >= self.file.version.max(self.file.seen_at) {
            self.matching = Some((version, text.clone()));
        }
    }
}
