//! What a program has switched on in our terminal, so that it can be switched off when we leave before the program
//! does: the other screen, a hidden cursor, reports of the mouse.
//!
//! It reads the output for the few sequences that count. What it deliberately does not do: know what is on the screen.

use std::collections::BTreeSet;

/// Private modes that make a terminal odd to use when they stay on: cursor keys, mouse reports and their forms, focus
/// reports, bracketed paste.
const SET_BY_PROGRAMS: [u16; 9] = [1, 1000, 1002, 1003, 1004, 1005, 1006, 1015, 2004];

/// Private modes that are on by themselves: line wrap, the cursor.
const ON_BY_DEFAULT: [u16; 2] = [7, 25];

/// The other screen, in the ways there have been to ask for it.
const OTHER_SCREEN: [u16; 3] = [47, 1047, 1049];

/// Longest sequence that is looked at; those that count are short.
const SEQUENCE_BYTES: usize = 64;

const ESCAPE: u8 = 0x1b;

/// How our terminal differs from what it was.
#[derive(Debug, Default)]
pub(super) struct Modes {
    /// Modes that are not as they are by default.
    odd: BTreeSet<u16>,
    region: bool,
    keypad: bool,
    styled: bool,
    /// A sequence that began with an escape and is not at its end.
    sequence: Vec<u8>,
}

impl Modes {
    /// Learns from a piece of output.
    pub(super) fn learn(&mut self, mut output: &[u8]) {
        loop {
            if self.sequence.is_empty() {
                let Some(at) = output.iter().position(|byte| *byte == ESCAPE) else { return };
                output = &output[at..];
            }
            let Some((&byte, rest)) = output.split_first() else { return };
            output = rest;
            if byte == ESCAPE {
                self.sequence.clear();
            }
            self.sequence.push(byte);
            let ended = match self.sequence[..] {
                [_] => false,
                [_, b'['] => false,
                [_, b'[', ..] => matches!(byte, 0x40..=0x7e),
                _ => true,
            };
            if ended {
                self.apply();
            }
            if ended || self.sequence.len() > SEQUENCE_BYTES {
                self.sequence.clear();
            }
        }
    }

    /// Whether a full-screen program has the screen.
    pub(super) fn other_screen(&self) -> bool {
        OTHER_SCREEN.iter().any(|mode| self.odd.contains(mode))
    }

    /// What makes the terminal usual again, if it is not.
    pub(super) fn reset(&mut self) -> Vec<u8> {
        let mut text = String::new();
        if self.region {
            // It moves the cursor, which is wanted where it is.
            text += "\x1b7\x1b[r\x1b8";
        }
        if self.styled {
            text += "\x1b[0m";
        }
        if self.keypad {
            text += "\x1b>";
        }
        // The other screen has the highest number but one: what belongs to it is left before it.
        let (last, first): (Vec<u16>, Vec<u16>) =
            self.odd.iter().partition(|mode| OTHER_SCREEN.contains(mode));
        for mode in first.into_iter().chain(last) {
            let switch = if ON_BY_DEFAULT.contains(&mode) { 'h' } else { 'l' };
            text += &format!("\x1b[?{mode}{switch}");
        }
        *self = Modes::default();
        text.into()
    }

    fn apply(&mut self) {
        let Modes { odd, region, keypad, styled, sequence } = self;
        match sequence[..] {
            [_, b'c'] => *self = Modes::default(),
            [_, b'='] => *keypad = true,
            [_, b'>'] => *keypad = false,
            [_, b'[', b'!', b'p'] => *self = Modes::default(),
            [_, b'[', b'?', ref modes @ .., switch @ (b'h' | b'l')] => {
                let modes = modes.split(|byte| *byte == b';');
                let numbers = modes.filter_map(|mode| std::str::from_utf8(mode).ok()?.parse().ok());
                for mode in numbers {
                    let usual = if ON_BY_DEFAULT.contains(&mode) { b'h' } else { b'l' };
                    if switch == usual {
                        odd.remove(&mode);
                    } else if [&SET_BY_PROGRAMS[..], &ON_BY_DEFAULT, &OTHER_SCREEN].concat().contains(&mode) {
                        odd.insert(mode);
                    }
                }
            }
            [_, b'[', ref edges @ .., b'r'] if !edges.starts_with(b"?") => *region = !edges.is_empty(),
            [_, b'[', ref style @ .., b'm'] if !style.starts_with(b">") && !style.starts_with(b"?") => {
                *styled = !matches!(style, b"" | b"0");
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_program_switched_on_is_switched_off() {
        let mut modes = Modes::default();
        modes.learn(b"text \x1b[?1049h\x1b[1;24r\x1b=\x1b[?1;2004h\x1b[?25l\x1b[38;5;1mred");
        assert!(modes.other_screen());
        assert_eq!(
            String::from_utf8(modes.reset()).as_deref(),
            Ok("\x1b7\x1b[r\x1b8\x1b[0m\x1b>\x1b[?1l\x1b[?25h\x1b[?2004l\x1b[?1049l")
        );
        assert_eq!(modes.reset(), b"", "once is enough");
    }

    #[test]
    fn what_it_switched_off_itself_is_left_alone() {
        let whole = b"\x1b[?1049h\x1b[?25l\x1b[5;9r\x1b[1m\x1b=x\x1b[m\x1b>\x1b[r\x1b[?25h\x1b[?1049l";
        for cut in 0..whole.len() {
            let mut modes = Modes::default();
            modes.learn(&whole[..cut]);
            modes.learn(&whole[cut..]);
            assert_eq!(modes.reset(), b"", "cut at {cut}");
        }
    }

    #[test]
    fn nonsense_is_no_mode() {
        let mut modes = Modes::default();
        modes.learn(b"\x1b[?9999h\x1b[?h\x1b[?;;99999999h\x1b[\x1b\x1b]0;title\x07\x1b[>4;2m");
        modes.learn(&[b"\x1b[".as_slice(), &[b'1'; 1000], b"\x1b[?25"].concat());
        assert_eq!(modes.reset(), b"");
    }
}
