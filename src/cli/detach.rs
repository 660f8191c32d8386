//! The keys by which a person leaves a program that goes on.
//!
//! Nothing typed is lost: keys that might begin the sequence are held for a moment only, so that a ctrl-p alone
//! arrives, and are sent on. The sequence still counts when it is finished later; then the program has seen its
//! beginning.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// How long the beginning of the sequence is held: longer than between two keys of one gesture, shorter than patience.
pub(super) const HOLD: Duration = Duration::from_millis(300);

/// A sequence of keys such as `ctrl-p,ctrl-q`; none if it is empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DetachKeys(Vec<u8>);

impl FromStr for DetachKeys {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let key = |name: &str| match name.as_bytes() {
            [byte] => Ok(*byte),
            [b'c', b't', b'r', b'l', b'-', letter] => match letter.to_ascii_uppercase() {
                upper @ (b'@'..=b'_') => Ok(upper & 0x1f),
                _ => Err(format!("there is no key {name}")),
            },
            _ => Err(format!("{name:?} is no key")),
        };
        let keys = text.split(',').filter(|_| !text.is_empty()).map(key).collect::<Result<_, _>>();
        keys.map(DetachKeys).map_err(|error| {
            format!(
                "{error}: give single characters and ctrl-a to ctrl-z, ctrl-@ [ \\ ] ^ _, with commas between \
                 them, such as ctrl-p,ctrl-q; an empty text switches detaching off"
            )
        })
    }
}

impl fmt::Display for DetachKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, key) in self.0.iter().enumerate() {
            let gap = if at > 0 { " " } else { "" };
            match key {
                0..0x20 => write!(f, "{gap}ctrl-{}", char::from(key | 0x40).to_ascii_lowercase())?,
                _ => write!(f, "{gap}{}", char::from(*key))?,
            }
        }
        Ok(())
    }
}

/// Looks for the keys in what is typed.
#[derive(Debug)]
pub(super) struct Detector {
    keys: Vec<u8>,
    /// How much of the sequence was typed last.
    matched: usize,
    /// Typed and not sent on yet: the end of what matched.
    held: Vec<u8>,
}

impl Detector {
    pub(super) fn new(keys: DetachKeys) -> Detector {
        Detector { keys: keys.0, matched: 0, held: Vec::new() }
    }

    /// Appends to `out` what the program is to get. True once the sequence is complete; what comes behind it in `typed`
    /// is dropped.
    pub(super) fn typed(&mut self, typed: &[u8], out: &mut Vec<u8>) -> bool {
        if self.keys.is_empty() {
            out.extend_from_slice(typed);
            return false;
        }
        for &byte in typed {
            if self.matched == 0 && byte != self.keys[0] {
                out.push(byte);
                continue;
            }
            self.held.push(byte);
            // The longest beginning of the sequence that ends with this key, as ctrl-p ctrl-p ctrl-q has one.
            let tail = [&self.keys[..self.matched], &[byte]].concat();
            let fits = |from: &usize| self.keys.starts_with(&tail[*from..]);
            self.matched = tail.len() - (0..tail.len()).find(fits).unwrap_or(tail.len());
            let done = self.matched == self.keys.len();
            let kept = self.matched.min(self.held.len());
            out.extend(self.held.drain(..self.held.len() - kept));
            if done {
                self.held.clear();
                self.matched = 0;
                return true;
            }
        }
        false
    }

    /// Whether keys are held that the program should get before long.
    pub(super) fn holds(&self) -> bool {
        !self.held.is_empty()
    }

    /// Gives up what is held.
    pub(super) fn release(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const P: u8 = 0x10;
    const Q: u8 = 0x11;

    fn detector() -> Detector {
        Detector::new("ctrl-p,ctrl-q".parse().expect("the default"))
    }

    #[test]
    fn keys_as_people_write_them() {
        for (text, keys, shown) in [
            ("ctrl-p,ctrl-q", &[P, Q][..], "ctrl-p ctrl-q"),
            ("ctrl-]", &[0x1d], "ctrl-]"),
            ("ctrl-@,a,~", &[0, b'a', b'~'], "ctrl-@ a ~"),
            ("", &[], ""),
        ] {
            let parsed: DetachKeys = text.parse().expect(text);
            assert_eq!((&parsed.0[..], parsed.to_string().as_str()), (keys, shown), "{text}");
        }
        for wrong in ["ctrl-", "ctrl-1", "ab", "a,,b", "ctrl-p ctrl-q", "é"] {
            let error = wrong.parse::<DetachKeys>().expect_err(wrong);
            assert!(error.contains("such as ctrl-p,ctrl-q"), "{error}");
        }
    }

    #[test]
    fn what_is_not_the_sequence_is_sent_on() {
        for (typed, sent, left) in [
            (&b"abc"[..], &b"abc"[..], false),
            (&[P, b'a', P, P, b'b', Q], &[P, b'a', P, P, b'b', Q], false),
            (&[b'a', P, Q, b'z'], b"a", true),
            (&[P, P, Q], &[P], true),
            (&[P], &[], false),
        ] {
            let mut detector = detector();
            let mut out = Vec::new();
            // However the keys come: together, or one by one.
            assert_eq!(detector.typed(typed, &mut out), left, "{typed:?}");
            assert_eq!(out, sent, "{typed:?}");
            let (mut single, mut out) = (self::detector(), Vec::new());
            assert_eq!(typed.iter().any(|key| single.typed(&[*key], &mut out)), left, "{typed:?}");
            assert_eq!(out, sent, "{typed:?}");
        }
    }

    #[test]
    fn what_was_held_too_long_is_sent_and_still_counts() {
        let (mut detector, mut out) = (detector(), Vec::new());
        assert!(!detector.typed(&[b'x', P], &mut out) && detector.holds());
        assert_eq!((out.as_slice(), detector.release()), (&b"x"[..], vec![P]));
        assert!(!detector.holds() && detector.typed(&[Q], &mut out));
        assert_eq!(out, b"x");
        // A sequence that overlaps itself.
        let mut detector = Detector::new("a,a,b".parse().expect("keys"));
        let mut out = Vec::new();
        assert!(detector.typed(b"xaaab", &mut out));
        assert_eq!(out, b"xa");
    }
}
