//! Names of files as text. The protocol's paths are strings, a name on Linux is bytes; nothing may get lost between.
//!
//! A byte that is no part of valid UTF-8 becomes one character of a private range, U+EF00 plus the byte, so U+EF80 to
//! U+EFFF. A name that really holds such a character has its bytes written the same way, so no two names have the same
//! text.

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use super::HIDDEN;
use crate::limits;

/// Where the characters that stand for bytes begin.
const BYTES: u32 = 0xEF00;

/// How names of unfinished files begin; sixteen hexadecimal digits follow.
const TEMPORARY: &str = ".pid1-tmp-";

/// A name, or a whole path, as text.
pub fn to_wire(name: &OsStr) -> Cow<'_, str> {
    match name.to_str() {
        Some(text) if !text.chars().any(stands_for_byte) => Cow::Borrowed(text),
        _ => {
            let mut text = String::with_capacity(name.len() + 8);
            for chunk in name.as_bytes().utf8_chunks() {
                for character in chunk.valid().chars() {
                    if stands_for_byte(character) {
                        text.extend(character.encode_utf8(&mut [0; 4]).bytes().map(character_of));
                    } else {
                        text.push(character);
                    }
                }
                text.extend(chunk.invalid().iter().copied().map(character_of));
            }
            Cow::Owned(text)
        }
    }
}

/// The name, or path, of which `text` came by [`to_wire`].
pub fn from_wire(text: &str) -> OsString {
    if !text.chars().any(stands_for_byte) {
        return text.into();
    }
    let mut name = Vec::with_capacity(text.len());
    for character in text.chars() {
        match u8::try_from(u32::from(character).wrapping_sub(BYTES)) {
            Ok(byte @ 0x80..) => name.push(byte),
            _ => name.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    OsString::from_vec(name)
}

/// As [`from_wire`] for a whole path. `None` if it is longer than any can be: nothing takes such a one apart.
pub fn path_from_wire(text: &str) -> Option<PathBuf> {
    // A byte is three of text at most.
    (text.len() <= 3 * limits::PATH_BYTES).then(|| from_wire(text).into())
}

/// Whether this name, at the root, is that of the agent's own folder, or leads there where the file system makes no
/// difference between capitals and small letters.
pub fn is_hidden(name: &OsStr) -> bool {
    name.eq_ignore_ascii_case(HIDDEN)
}

/// Whether a file of this name is one that is being written: it is in no listing, and no event tells of it.
pub fn is_temporary(name: &OsStr) -> bool {
    let digits = name.as_bytes().strip_prefix(TEMPORARY.as_bytes());
    digits.is_some_and(|digits| digits.len() == 16 && digits.iter().all(u8::is_ascii_hexdigit))
}

/// The name of the unfinished file with this number.
pub(super) fn temporary(number: u64) -> String {
    format!("{TEMPORARY}{number:016x}")
}

fn stands_for_byte(character: char) -> bool {
    ('\u{EF80}'..='\u{EFFF}').contains(&character)
}

fn character_of(byte: u8) -> char {
    char::from_u32(BYTES + u32::from(byte)).unwrap_or(char::REPLACEMENT_CHARACTER)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ordinary_names_stay_as_they_are() {
        for name in ["a", "dir/é.txt", "日本\u{E000}", ""] {
            assert!(matches!(to_wire(OsStr::new(name)), Cow::Borrowed(text) if text == name));
            assert_eq!(from_wire(name), name);
        }
        assert_eq!(to_wire(OsStr::from_bytes(b"a\xffb")), "a\u{EFFF}b");
        assert_eq!(to_wire(OsStr::new("\u{EFFF}")), "\u{EFEE}\u{EFBF}\u{EFBF}");
    }

    #[test]
    fn a_path_longer_than_any_is_none() {
        assert_eq!(path_from_wire("a/\u{EFFF}").unwrap().as_os_str().as_bytes(), b"a/\xff");
        assert_eq!(path_from_wire(&"a/".repeat(1 << 20)), None);
    }

    #[test]
    fn unfinished_files_are_told_by_their_names() {
        assert!(is_temporary(OsStr::new(&temporary(7))) && is_temporary(OsStr::new(&temporary(u64::MAX))));
        for name in [".pid1", ".pid1-tmp-", ".pid1-tmp-0000000000000007x", "x.pid1-tmp-0000000000000007"] {
            assert!(!is_temporary(OsStr::new(name)), "{name}");
        }
    }

    /// Bytes among which those that matter here are frequent.
    fn names() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            any::<u8>().prop_map(|byte| vec![byte]),
            any::<char>().prop_map(|c| c.to_string().into_bytes()),
            prop::char::range('\u{EF00}', '\u{F000}').prop_map(|c| c.to_string().into_bytes()),
            Just(vec![0xEE, 0xBE]),
        ];
        prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn every_name_survives(name in names()) {
            let text = to_wire(OsStr::from_bytes(&name)).into_owned();
            prop_assert_eq!(from_wire(&text).into_vec(), name);
        }

        #[test]
        fn no_two_names_have_one_text(all in prop::collection::vec(names(), 2..40)) {
            let mut seen = HashMap::new();
            for name in all {
                let text = to_wire(OsStr::from_bytes(&name)).into_owned();
                prop_assert_eq!(seen.entry(text).or_insert_with(|| name.clone()), &name);
            }
        }

        #[test]
        fn text_becomes_no_other_path(text in "\\PC{0,12}") {
            let slashes = |bytes: &[u8]| bytes.iter().filter(|byte| **byte < 0x80).count();
            prop_assert_eq!(slashes(from_wire(&text).as_bytes()), slashes(text.as_bytes()));
        }
    }
}
