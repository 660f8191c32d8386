//! The text of a document: code points, and the checksum that tells editors whether they have the same one.

use ropey::Rope;

use crate::op::{Op, Step};

/// Up to here the checksum is computed from all of the text: microseconds.
const HASHED_WHOLE_BYTES: usize = 256 * 1024;

/// Above that, of pieces of about this size, and put together.
const BLOCK_BYTES: usize = 64 * 1024;

/// A text. A clone shares what is not changed afterwards.
#[derive(Clone, Debug, Default)]
pub struct Text {
    rope: Rope,
    /// Of pieces that make up the whole; empty if the text is hashed whole.
    blocks: Vec<Block>,
}

#[derive(Clone, Copy, Debug)]
struct Block {
    length_bytes: usize,
    /// `None` since it was changed.
    crc32: Option<u32>,
}

/// The op was made for a longer text.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the change reaches to code point {reach} of a text of {length}")]
pub struct TooShort {
    /// How far the op reaches.
    pub reach: usize,
    /// How long the text is.
    pub length: usize,
}

impl Text {
    /// A text.
    pub fn new(text: &str) -> Text {
        Text { rope: Rope::from_str(text), blocks: Vec::new() }
    }

    /// Its length in code points.
    pub fn length(&self) -> usize {
        self.rope.len_chars()
    }

    /// Its length as UTF-8.
    pub fn length_bytes(&self) -> usize {
        self.rope.len_bytes()
    }

    /// Its pieces, from the beginning.
    pub fn pieces(&self) -> impl Iterator<Item = &str> {
        self.rope.chunks()
    }

    /// All of it, in one piece.
    pub fn whole(&self) -> String {
        let mut whole = String::with_capacity(self.length_bytes());
        self.pieces().for_each(|piece| whole.push_str(piece));
        whole
    }

    /// Changes it.
    ///
    /// # Errors
    /// If the op reaches behind its end: then nothing is changed.
    pub fn apply(&mut self, op: &Op) -> Result<(), TooShort> {
        let (reach, length) = (op.reach(), self.length());
        if reach > length {
            return Err(TooShort { reach, length });
        }
        let mut at = 0;
        for step in op.steps() {
            match step {
                Step::Skip(count) => at += count,
                Step::Delete(count) => {
                    let begin = self.rope.char_to_byte(at);
                    let end = self.rope.char_to_byte(at + count);
                    self.rope.remove(at..at + count);
                    self.touch(begin, end - begin, 0);
                }
                Step::Insert(text) => {
                    let begin = self.rope.char_to_byte(at);
                    self.rope.insert(at, text);
                    at += text.chars().count();
                    self.touch(begin, 0, text.len());
                }
            }
        }
        Ok(())
    }

    /// CRC-32 (IEEE) of the UTF-8.
    pub fn crc32(&mut self) -> u32 {
        if self.length_bytes() <= HASHED_WHOLE_BYTES {
            self.blocks.clear();
            let mut hasher = crc32fast::Hasher::new();
            self.rope.chunks().for_each(|piece| hasher.update(piece.as_bytes()));
            return hasher.finalize();
        }
        self.hash_touched();
        let mut all = crc32fast::Hasher::new();
        for block in &self.blocks {
            let crc32 = block.crc32.unwrap_or_default();
            all.combine(&crc32fast::Hasher::new_with_initial_len(crc32, block.length_bytes as u64));
        }
        all.finalize()
    }

    /// At `begin`, `gone` bytes became `come` others: the blocks that had them become one.
    fn touch(&mut self, begin: usize, gone: usize, come: usize) {
        if self.blocks.is_empty() {
            return;
        }
        let (mut first, mut before) = (0, 0);
        while let Some(block) = self.blocks.get(first)
            && before + block.length_bytes <= begin
            && first + 1 < self.blocks.len()
        {
            before += block.length_bytes;
            first += 1;
        }
        let (mut last, mut behind) = (first, before + self.blocks[first].length_bytes);
        while behind < begin + gone && last + 1 < self.blocks.len() {
            last += 1;
            behind += self.blocks[last].length_bytes;
        }
        let touched = Block { length_bytes: behind - before - gone + come, crc32: None };
        self.blocks.splice(first..=last, [touched]);
    }

    fn hash_touched(&mut self) {
        if self.blocks.is_empty() {
            self.blocks.push(Block { length_bytes: self.length_bytes(), crc32: None });
        }
        if self.blocks.iter().all(|block| block.crc32.is_some()) {
            return;
        }
        let mut hashed: Vec<Block> = Vec::with_capacity(self.blocks.len());
        let mut begin = 0;
        for block in &self.blocks {
            let end = begin + block.length_bytes;
            if block.crc32.is_some() {
                hashed.push(*block);
                begin = end;
                continue;
            }
            // Small ones are taken into the one before, or there would be more and more.
            if let Some(small) = hashed.pop_if(|last| last.length_bytes + block.length_bytes < BLOCK_BYTES) {
                begin -= small.length_bytes;
            }
            while begin < end {
                let rest = end - begin;
                let length_bytes = if rest < 2 * BLOCK_BYTES { rest } else { BLOCK_BYTES };
                let mut hasher = crc32fast::Hasher::new();
                let mut left = length_bytes;
                let (chunks, chunk_begin, ..) = self.rope.chunks_at_byte(begin);
                let mut inside = begin - chunk_begin;
                for chunk in chunks {
                    let part = &chunk.as_bytes()[inside..];
                    inside = 0;
                    hasher.update(&part[..part.len().min(left)]);
                    left -= part.len().min(left);
                    if left == 0 {
                        break;
                    }
                }
                hashed.push(Block { length_bytes, crc32: Some(hasher.finalize()) });
                begin += length_bytes;
            }
        }
        self.blocks = hashed;
    }
}

impl PartialEq for Text {
    fn eq(&self, other: &Text) -> bool {
        self.rope.is_instance(&other.rope) || self.rope == other.rope
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn crc32(text: &str) -> u32 {
        crc32fast::hash(text.as_bytes())
    }

    #[test]
    fn positions_are_code_points() {
        let mut text = Text::new("a\u{1f600}e\u{301}\r\nz");
        let op = [
            Step::Skip(2),
            Step::Delete(1),
            Step::Insert("\u{1f680}".into()),
            Step::Skip(3),
            Step::Delete(1),
        ];
        text.apply(&op.into_iter().collect()).unwrap();
        assert_eq!(text.whole(), "a\u{1f600}\u{1f680}\u{301}\r\n");
        assert_eq!(text.crc32(), crc32("a\u{1f600}\u{1f680}\u{301}\r\n"));
        assert_eq!(text, Text::new("a\u{1f600}\u{1f680}\u{301}\r\n"));
        assert_ne!(text, Text::new("a\u{1f600}\u{1f680}\u{301}\r "));
    }

    #[test]
    fn what_reaches_too_far_changes_nothing() {
        let mut text = Text::new("abc");
        let op: Op = [Step::Insert("x".into()), Step::Skip(2), Step::Delete(2)].into_iter().collect();
        assert_eq!(text.apply(&op), Err(TooShort { reach: 4, length: 3 }));
        assert_eq!(text.whole(), "abc");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn the_checksum_is_right_after_every_change(
            start in 0..900_000_usize,
            edits in prop::collection::vec((0.0..1.0_f64, 0..200_000_usize, 0..200_000_usize), 1..12),
        ) {
            let mut plain: Vec<char> = "ab\u{e4}\u{1f600}\n".chars().cycle().take(start).collect();
            let mut text = Text::new(&plain.iter().collect::<String>());
            for (place, gone, come) in edits {
                let at = (place * plain.len() as f64) as usize;
                let gone = gone.min(plain.len() - at);
                let new: String = "xy\u{fc}z".chars().cycle().skip(at % 4).take(come).collect();
                let op = [Step::Skip(at), Step::Delete(gone), Step::Insert(new.clone())];
                text.apply(&op.into_iter().collect()).unwrap();
                plain.splice(at..at + gone, new.chars());
                let all: String = plain.iter().collect();
                prop_assert_eq!(text.crc32(), crc32(&all));
                prop_assert_eq!(text.whole(), all);
            }
        }
    }
}
