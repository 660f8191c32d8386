//! The part of an output log that is in memory: blocks of bytes with absolute offsets.
//!
//! Large reads stay the buffers they were read into; small ones are joined, so that a log of single characters does not
//! cost many times its content. What it deliberately does not do: lock, wake, or know readers.

use std::collections::VecDeque;
use std::mem;

use bytes::Bytes;

use crate::limits::LOG_BLOCK_BYTES;

struct Block {
    offset: u64,
    bytes: Bytes,
}

impl Block {
    fn end(&self) -> u64 {
        self.offset + self.bytes.len() as u64
    }
}

/// Bytes `start()..end()` of a stream, whole blocks of them.
#[derive(Default)]
pub(super) struct Memory {
    closed: VecDeque<Block>,
    /// The block that small pieces are still added to; it follows `closed`.
    open: Vec<u8>,
    end: u64,
}

impl Memory {
    pub(super) fn start(&self) -> u64 {
        self.closed.front().map_or(self.open_start(), |block| block.offset)
    }

    pub(super) fn end(&self) -> u64 {
        self.end
    }

    pub(super) fn len(&self) -> u64 {
        self.end - self.start()
    }

    fn open_start(&self) -> u64 {
        self.end - self.open.len() as u64
    }

    /// Adds what is in `buffer` and empties it. A small content is copied and leaves the buffer its memory.
    pub(super) fn append(&mut self, buffer: &mut Vec<u8>) {
        if buffer.len() < LOG_BLOCK_BYTES {
            if self.open.len() + buffer.len() > 2 * LOG_BLOCK_BYTES {
                self.close_block();
            }
            self.open.extend_from_slice(buffer);
            self.end += buffer.len() as u64;
            buffer.clear();
            return;
        }
        self.close_block();
        let offset = self.end;
        self.end += buffer.len() as u64;
        // A buffer that is mostly empty would be kept whole for the few bytes in it.
        let bytes = if buffer.len() * 2 < buffer.capacity() {
            let bytes = Bytes::copy_from_slice(buffer);
            buffer.clear();
            bytes
        } else {
            Bytes::from(mem::take(buffer))
        };
        self.closed.push_back(Block { offset, bytes });
    }

    /// What comes next begins a block of its own.
    pub(super) fn close_block(&mut self) {
        if self.open.is_empty() {
            return;
        }
        let offset = self.open_start();
        let bytes = Bytes::from(mem::take(&mut self.open));
        self.closed.push_back(Block { offset, bytes });
    }

    /// What is allocated for small pieces.
    #[cfg(test)]
    pub(super) fn allocated(&self) -> usize {
        self.open.capacity()
    }

    /// At most `max` bytes from `from`, which must be within `start()..end()`; at least one, from one block.
    pub(super) fn read(&self, from: u64, max: usize) -> Bytes {
        let index = self.closed.partition_point(|block| block.end() <= from);
        match self.closed.get(index) {
            Some(block) => {
                let at = to_index(from - block.offset);
                let to = block.bytes.len().min(at.saturating_add(max));
                block.bytes.slice(at..to)
            }
            None => {
                let at = to_index(from - self.open_start());
                let to = self.open.len().min(at.saturating_add(max));
                Bytes::copy_from_slice(&self.open[at..to])
            }
        }
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        *self = Self { end: self.end, ..Self::default() };
    }

    /// Gives back what was allocated for bytes that will not come.
    pub(super) fn shrink(&mut self) {
        self.open.shrink_to_fit();
        self.closed.shrink_to_fit();
    }

    /// Forgets whole blocks that end at or before `offset`.
    pub(super) fn drop_before(&mut self, offset: u64) {
        while self.closed.front().is_some_and(|block| block.end() <= offset) {
            self.closed.pop_front();
        }
    }

    /// The oldest closed blocks, about `max` bytes of them, with the offset of the first.
    pub(super) fn oldest(&self, max: usize) -> (u64, Vec<Bytes>) {
        let mut taken = 0;
        let mut blocks = Vec::new();
        for block in &self.closed {
            if taken > 0 && taken + block.bytes.len() > max {
                break;
            }
            taken += block.bytes.len();
            blocks.push(block.bytes.clone());
        }
        (self.start(), blocks)
    }

    /// The last `max` bytes, or all, joined.
    pub(super) fn last(&self, max: usize) -> (u64, Vec<u8>) {
        let from = self.end - self.len().min(max as u64);
        let mut joined = Vec::with_capacity(to_index(self.end - from));
        let mut at = from;
        while at < self.end {
            let piece = self.read(at, usize::MAX);
            at += piece.len() as u64;
            joined.extend_from_slice(&piece);
        }
        (from, joined)
    }
}

/// Offsets within memory are differences of what is held, so they fit.
fn to_index(difference: u64) -> usize {
    usize::try_from(difference).expect("what is held in memory has a length that fits")
}
