//! Bytes of a program to text of the protocol, which knows only valid UTF-8.
//!
//! A read may end in the middle of a character. [`Utf8Carry`] keeps those (at most three) bytes for the next
//! piece, so that no character is ever cut; bytes that can never become a character turn into U+FFFD.

/// The unfinished character between two pieces of one stream.
#[derive(Debug, Default)]
pub struct Utf8Carry {
    held: [u8; 3],
    len: usize,
}

impl Utf8Carry {
    /// A stream that has not begun.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many bytes wait for the rest of their character: 0 to 3.
    pub fn held_bytes(&self) -> usize {
        self.len
    }

    /// The text that is complete with `bytes`; what is unfinished at their end is kept back.
    pub fn push(&mut self, bytes: &[u8]) -> String {
        if self.len == 0 {
            let whole = complete_prefix(bytes);
            self.keep(&bytes[whole..]);
            return text(&bytes[..whole]);
        }
        let mut joined = Vec::with_capacity(self.len + bytes.len());
        joined.extend_from_slice(&self.held[..self.len]);
        joined.extend_from_slice(bytes);
        let whole = complete_prefix(&joined);
        self.keep(&joined[whole..]);
        joined.truncate(whole);
        match String::from_utf8(joined) {
            Ok(text) => text,
            Err(invalid) => String::from_utf8_lossy(invalid.as_bytes()).into_owned(),
        }
    }

    /// The stream has ended: an unfinished character becomes U+FFFD. Empty if nothing was held.
    pub fn finish(&mut self) -> String {
        let text = String::from_utf8_lossy(&self.held[..self.len]).into_owned();
        self.len = 0;
        text
    }

    fn keep(&mut self, rest: &[u8]) {
        self.held[..rest.len()].copy_from_slice(rest);
        self.len = rest.len();
    }
}

/// `String::from_utf8_lossy` alone looks at each byte by itself: a quarter of the agent's CPU when a pipe floods.
fn text(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => String::from_utf8_lossy(bytes).into_owned(),
    }
}

/// The length of `bytes` without a last character that may still become valid.
fn complete_prefix(bytes: &[u8]) -> usize {
    // Only a lead byte in the last three places can be waiting for more; a longer tail is complete or invalid.
    for back in 1..=bytes.len().min(3) {
        let start = bytes.len() - back;
        if bytes[start] & 0b1100_0000 != 0b1000_0000 {
            return match std::str::from_utf8(&bytes[start..]) {
                Err(unfinished) if unfinished.error_len().is_none() => start,
                _ => bytes.len(),
            };
        }
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn in_pieces(bytes: &[u8], cuts: &[usize]) -> String {
        let mut carry = Utf8Carry::new();
        let mut text = String::new();
        let mut rest = bytes;
        for &cut in cuts {
            let (piece, after) = rest.split_at(cut.min(rest.len()));
            text += &carry.push(piece);
            rest = after;
        }
        text += &carry.push(rest);
        text + &carry.finish()
    }

    #[test]
    fn a_character_cut_at_every_place_arrives_whole() {
        let text = "aé€😀z".repeat(3);
        for cut in 0..=text.len() {
            assert_eq!(in_pieces(text.as_bytes(), &[cut]), text, "cut at {cut}");
        }
        assert_eq!(in_pieces(text.as_bytes(), &vec![1; text.len()]), text, "byte by byte");
    }

    #[test]
    fn invalid_bytes_are_replaced_at_once_and_do_not_wait() {
        let mut carry = Utf8Carry::new();
        assert_eq!(carry.push(b"a\xffb"), "a\u{fffd}b");
        assert_eq!(carry.push(b"\xc3"), "");
        assert_eq!(carry.held_bytes(), 1);
        assert_eq!(carry.push(b"\xa9"), "é");
        assert_eq!(carry.push(b"\xf0\x9f"), "");
        assert_eq!(carry.finish(), "\u{fffd}");
        assert_eq!(carry.finish(), "");
    }

    proptest! {
        #[test]
        fn any_bytes_in_any_pieces_equal_the_lossy_whole(bytes: Vec<u8>, cuts: Vec<u8>) {
            let cuts: Vec<usize> = cuts.into_iter().map(|cut| usize::from(cut % 8)).collect();
            prop_assert_eq!(in_pieces(&bytes, &cuts), String::from_utf8_lossy(&bytes));
        }
    }
}
