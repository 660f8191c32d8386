//! A document: its text, its version, and what it takes to make a change that was based on an older version fit.
//!
//! What is submitted is applied at once and *pending* until [`Document::committed`] says that it lasts; until then it can
//! be taken back.

use std::collections::VecDeque;

use pid1_sdk::limits;

use crate::op::Op;
use crate::text::{Text, TooShort};
use crate::transform::{Side, transform};

/// One version.
#[derive(Clone, Debug)]
struct Recent {
    version: u32,
    op: Op,
}

/// The text of one document and its last changes.
#[derive(Debug)]
pub struct Document {
    text: Text,
    version: u32,
    /// Without a gap, up to `version`. At least what is pending, and more as memory allows.
    recent: VecDeque<Recent>,
    recent_bytes: usize,
    /// As it was when everything lasted.
    lasting: (u32, Text),
}

/// Why a change was refused. Nothing has changed.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// The author has seen what does not exist.
    #[error("the change is based on version {base}, and the document is at version {version}")]
    Ahead {
        /// What it says.
        base: u32,
        /// What there is.
        version: u32,
    },
    /// The author has missed too much.
    #[error(
        "the change is based on version {base}, and the document is at version {version}: fetch what is between them, or read \
         the document again"
    )]
    Behind {
        /// What it says.
        base: u32,
        /// What there is.
        version: u32,
    },
    /// It reaches behind the end of the text.
    #[error(transparent)]
    TooShort(#[from] TooShort),
    /// The document would be too large.
    #[error("a document has at most {} bytes, and this change would make it {size}", limits::OT_BYTES)]
    TooLarge {
        /// How large, in bytes.
        size: usize,
    },
    /// There are no more numbers.
    #[error("the document has had as many versions as there can be")]
    Exhausted,
}

impl Document {
    /// The document as it lasts.
    pub fn new(text: Text, version: u32) -> Document {
        let lasting = (version, text.clone());
        Document { text, version, recent: VecDeque::new(), recent_bytes: 0, lasting }
    }

    /// What it says now.
    pub fn text(&self) -> &Text {
        &self.text
    }

    /// How many changes it has had.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// The checksum of what it says now.
    pub fn crc32(&mut self) -> u32 {
        self.text.crc32()
    }

    /// Applies a change that was made for version `base`. `older` is asked for versions that are not in memory any more.
    /// What it became is version [`Document::version`] from then on.
    ///
    /// # Errors
    /// If it does not fit.
    pub fn submit(
        &mut self,
        base: u32,
        mut op: Op,
        older: impl FnOnce(u32, u32) -> Option<Vec<Op>>,
    ) -> Result<Op, Refused> {
        let version = self.version;
        if base > version {
            return Err(Refused::Ahead { base, version });
        }
        let behind = Refused::Behind { base, version };
        if version - base > limits::OT_BEHIND {
            return Err(behind);
        }
        let mut steps = 0;
        let mut fit = |op: &mut Op, other: &Op| {
            steps += op.steps().len() + other.steps().len();
            *op = transform(op, other, Side::Right);
            steps <= limits::OT_BEHIND_STEPS
        };
        let missing = (version - base) as usize;
        let in_memory = self.recent.len().min(missing);
        if in_memory < missing {
            let first_known = version - u32::try_from(in_memory).unwrap_or_default();
            let Some(older) = older(base + 1, first_known) else { return Err(behind) };
            if !older.iter().all(|other| fit(&mut op, other)) {
                return Err(behind);
            }
        }
        if !self.recent.iter().skip(self.recent.len() - in_memory).all(|other| fit(&mut op, &other.op)) {
            return Err(behind);
        }
        self.apply(op.clone())?;
        Ok(op)
    }

    /// Applies a change that was made for this very version.
    fn apply(&mut self, op: Op) -> Result<(), Refused> {
        let version = self.version.checked_add(1).ok_or(Refused::Exhausted)?;
        let before = self.text.clone();
        self.text.apply(&op)?;
        let size = self.text.length_bytes();
        if size > limits::OT_BYTES {
            self.text = before;
            return Err(Refused::TooLarge { size });
        }
        self.version = version;
        self.recent_bytes += size_of::<Recent>() + op.size_bytes();
        self.recent.push_back(Recent { version, op });
        Ok(())
    }

    /// What was submitted so far lasts.
    pub fn committed(&mut self) {
        self.lasting = (self.version, self.text.clone());
        while self.recent_bytes > limits::OT_RECENT_BYTES
            && let Some(oldest) = self.recent.pop_front()
        {
            self.recent_bytes -= size_of::<Recent>() + oldest.op.size_bytes();
        }
    }

    /// What was submitted since it was last committed never was.
    pub fn take_back(&mut self) {
        let (version, text) = self.lasting.clone();
        (self.version, self.text) = (version, text);
        while let Some(last) = self.recent.pop_back_if(|last| last.version > version) {
            self.recent_bytes -= size_of::<Recent>() + last.op.size_bytes();
        }
    }

    /// The changes after `version`, if they are in memory.
    pub fn since(&self, version: u32) -> Option<impl Iterator<Item = &Op>> {
        let count = self.version.checked_sub(version)? as usize;
        let skipped = self.recent.len().checked_sub(count)?;
        Some(self.recent.iter().skip(skipped).map(|recent| &recent.op))
    }
}

#[cfg(test)]
mod tests {
    use pid1_sdk::api::OtRuneTransformOp;
    use pid1_sdk::api::ot_rune_transform_op::Op as Wire;
    use proptest::prelude::*;

    use super::*;
    use crate::op::Step;

    fn none(_: u32, _: u32) -> Option<Vec<Op>> {
        None
    }

    fn at(place: usize, text: &str) -> Op {
        [Step::Skip(place), Step::Insert(text.into())].into_iter().collect()
    }

    #[test]
    fn a_change_is_made_to_fit_what_came_before_it() {
        let mut document = Document::new(Text::new("abc"), 1);
        document.submit(1, at(3, "d"), none).unwrap();
        let op = document.submit(1, at(3, "e"), none).unwrap();
        assert_eq!(op, at(4, "e"));
        assert_eq!((document.text().whole().as_str(), document.version()), ("abcde", 3));
    }

    #[test]
    fn what_does_not_fit_changes_nothing() {
        let mut document = Document::new(Text::new("abc"), 5);
        assert!(matches!(document.submit(6, at(0, "x"), none), Err(Refused::Ahead { base: 6, version: 5 })));
        assert!(matches!(document.submit(4, at(0, "x"), none), Err(Refused::Behind { .. })));
        assert!(matches!(document.submit(5, at(4, "x"), none), Err(Refused::TooShort(_))));
        let huge = at(0, &"x".repeat(limits::OT_BYTES));
        assert!(matches!(document.submit(5, huge, none), Err(Refused::TooLarge { .. })));
        assert_eq!((document.text().whole().as_str(), document.version()), ("abc", 5));
    }

    proptest! {
        #[test]
        fn whatever_comes_is_made_to_fit_or_changes_nothing(
            base in 0..9_u32,
            steps in prop::collection::vec((0..3, 0..8_u32, "[a\u{1f600}]{0,3}"), 0..6),
        ) {
            let mut document = Document::new(Text::new("0123456"), 5);
            for text in ["ab", "c"] {
                document.submit(document.version(), at(3, text), none).unwrap();
            }
            let (before, version) = (document.text().whole(), document.version());
            let wire = |(kind, count, text)| match kind {
                0 => Wire::Skip(count),
                1 => Wire::Delete(count),
                _ => Wire::Insert(text),
            };
            let ops = steps.into_iter().map(|step| OtRuneTransformOp { op: Some(wire(step)) }).collect();
            match document.submit(base, Op::from_wire(ops), none) {
                Ok(op) => {
                    let mut text = Text::new(&before);
                    text.apply(&op).unwrap();
                    prop_assert_eq!(document.text(), &text);
                    prop_assert_eq!(document.version(), version + 1);
                }
                Err(_) => {
                    prop_assert_eq!(document.text().whole(), before);
                    prop_assert_eq!(document.version(), version);
                }
            }
        }
    }

    #[test]
    fn what_could_not_be_committed_never_was() {
        let mut document = Document::new(Text::new("abc"), 1);
        document.submit(1, at(0, "x"), none).unwrap();
        document.committed();
        document.submit(2, at(0, "y"), none).unwrap();
        document.submit(3, at(0, "z"), none).unwrap();
        document.take_back();
        assert_eq!((document.text().whole().as_str(), document.version()), ("xabc", 2));
        document.submit(1, at(3, "w"), none).unwrap();
        assert_eq!(document.text().whole(), "xabcw");
    }

    #[test]
    fn older_changes_are_asked_for() {
        let mut document = Document::new(Text::new(""), 1);
        let large = "x".repeat(limits::OT_RECENT_BYTES);
        document.submit(1, at(0, "a"), none).unwrap();
        document.submit(2, at(1, &large), none).unwrap();
        document.committed();
        assert!(document.since(1).is_none() && document.since(3).unwrap().count() == 0);
        let older = |from, to| {
            assert_eq!((from, to), (2, 3));
            Some(vec![at(0, "a"), at(1, &large)])
        };
        let op = document.submit(1, at(0, "!"), older).unwrap();
        assert_eq!(op, at(large.len() + 1, "!"));
    }
}
