//! What a log knows under its lock, and what a reader at some place finds there.
//!
//! What it deliberately does not do: wake anybody, or touch the file.

use super::holders::{Holders, Slot, Standing};
use super::log::Bounds;
use super::memory::Memory;
use super::reader::{Cursor, Item};
use super::spill::Ring;
use crate::limits::SPILL_READ_BYTES;

#[derive(Default)]
pub(super) struct State {
    pub(super) memory: Memory,
    pub(super) ring: Option<Ring>,
    /// The file failed or there is none to be had: what comes lives in memory only.
    pub(super) no_file: bool,
    pub(super) holders: Holders,
    pub(super) leader_exited: bool,
    pub(super) settled: Option<u64>,
    pub(super) ended: bool,
    pub(super) hung_up: bool,
    pub(super) closing: bool,
    /// How often it was asked how far the stream is written.
    pub(super) asked: u64,
    /// The answer to as many of these questions: at which offset.
    pub(super) written: (u64, u64),
    /// It was put away, as far as that goes.
    pub(super) shelved: bool,
}

/// What a reader finds.
pub(super) enum Look {
    Item(Item),
    InFile(Ring, u64, usize),
    Nothing,
}

impl State {
    pub(super) fn new(no_file: bool) -> Self {
        Self { no_file, ..Self::default() }
    }

    pub(super) fn start(&self) -> u64 {
        match &self.ring {
            Some(ring) if ring.end > ring.start => ring.start,
            _ => self.memory.start(),
        }
    }

    pub(super) fn standing(&self, bounds: Bounds) -> Standing {
        let file_room = match &self.ring {
            _ if self.no_file => 0,
            Some(ring) => ring.capacity,
            None => bounds.file,
        };
        let (end, memory_start) = (self.memory.end(), self.memory.start());
        Standing { end, memory_start, window: bounds.memory, file_room }
    }

    /// Whether the pump waits for a reader, and whether it does for a while: it looks again when either changes.
    pub(super) fn waits(&self, bounds: Bounds) -> (bool, bool) {
        let standing = self.standing(bounds);
        (self.holders.stop(standing), self.holders.linger(standing))
    }

    pub(super) fn release(&mut self, slot: Slot) {
        self.holders.remove(slot);
        self.close_unneeded();
    }

    pub(super) fn advance(&mut self, slot: Slot, at: u64) {
        self.holders.advance(slot, at);
        self.close_unneeded();
    }

    /// Nothing more goes into the file. What is in it goes when no holding reader needs it any more; if nothing follows in
    /// memory that would have to go before it, it stays.
    pub(super) fn give_up_file(&mut self) {
        self.no_file = true;
        self.close_unneeded();
    }

    fn close_unneeded(&mut self) {
        let slowest = if self.ended { 0 } else { self.holders.slowest() };
        if self.no_file && self.ring.as_ref().is_some_and(|ring| ring.end <= slowest.max(ring.start)) {
            self.ring = None;
        }
    }

    /// Whether `from` is still in the file a reader has just read it from.
    pub(super) fn still_in_file(&self, from: u64) -> bool {
        self.ring.as_ref().is_some_and(|ring| ring.start <= from)
    }

    /// What a reader at `cursor` gets next; moves the cursor for all but file reads.
    pub(super) fn look(&self, cursor: &mut Cursor, max: usize) -> Look {
        if !cursor.settled && self.settled.is_some_and(|settled| cursor.at >= settled) {
            cursor.settled = true;
            return Look::Item(Item::Settled);
        }
        let start = self.start();
        if cursor.at < start {
            let from = std::mem::replace(&mut cursor.at, start);
            return Look::Item(Item::Gap { from, to: start });
        }
        let end = self.memory.end();
        if cursor.at < end {
            // The piece ends where the leader's own output ends, so that `Settled` comes right there.
            let to = self.settled.filter(|_| !cursor.settled).unwrap_or(end).min(end);
            let max = usize::try_from(to - cursor.at).unwrap_or(usize::MAX).min(max.max(1));
            let in_memory = self.memory.start();
            if let Some(ring) = self.ring.as_ref().filter(|_| cursor.at < in_memory) {
                let in_file = usize::try_from(in_memory - cursor.at).unwrap_or(usize::MAX);
                return Look::InFile(ring.clone(), cursor.at, max.min(in_file).min(SPILL_READ_BYTES));
            }
            let bytes = self.memory.read(cursor.at, max);
            let offset = cursor.at;
            cursor.at += bytes.len() as u64;
            return Look::Item(Item::Chunk { offset, bytes });
        }
        if self.ended && cursor.settled {
            return Look::Item(Item::End);
        }
        Look::Nothing
    }
}

/// Where the last `lines` lines begin in `bytes`; `whole` if nothing precedes them.
pub(super) fn tail_start(bytes: &[u8], lines: usize, whole: bool) -> usize {
    // An unfinished last line, a prompt most often, is not counted: `lines` whole ones stand before it.
    let feeds = bytes.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n');
    if lines == 0 {
        return bytes.len();
    }
    let mut seen = 0;
    let mut earliest = None;
    for (index, _) in feeds {
        seen += 1;
        earliest = Some(index + 1);
        if seen > lines {
            return index + 1;
        }
    }
    if whole { 0 } else { earliest.unwrap_or(0) }
}
