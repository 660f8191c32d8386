//! Any bytes, cut anywhere: the pieces' text is that of the whole, and nothing waits that could have been sent.

use arbitrary::Unstructured;
use pid1_sdk::utf8::Utf8Carry;

/// A byte says how long the next piece is, and how far into it the stream ends.
pub fn check(data: &[u8]) {
    let mut input = Unstructured::new(data);
    let mut carry = Utf8Carry::new();
    let (mut whole, mut text) = (Vec::new(), String::new());
    while let Ok(length @ 0..=63) = input.int_in_range(0..=64usize) {
        let piece = input.bytes(length.min(input.len())).unwrap_or_default();
        whole.extend_from_slice(piece);
        text += &carry.push(piece);
        let held = carry.held_bytes();
        assert!(held <= 3, "{held} bytes are no unfinished character");
        let unfinished = std::str::from_utf8(&whole[whole.len() - held..]).err().map(|error| {
            assert_eq!(error.valid_up_to(), 0, "{held} bytes of {whole:?} wait, and a part is complete");
            error.error_len()
        });
        assert!(matches!(unfinished, None | Some(None)), "bytes wait that can never become a character");
        assert_eq!(text, String::from_utf8_lossy(&whole[..whole.len() - held]), "of {whole:?}");
        if input.is_empty() {
            break;
        }
    }
    text += &carry.finish();
    assert_eq!(text, String::from_utf8_lossy(&whole), "of {whole:?}");
    assert_eq!((carry.held_bytes(), carry.finish()), (0, String::new()), "the stream has ended");
}
