//! The committed corpus of each fuzz target through the same oracles, so that neither rots between long runs.

use std::fs;
use std::path::Path;

#[path = "../fuzz/src/lib.rs"]
mod oracles;

/// Calls `check` with every input of one target; there must be some.
fn replay(target: &str, check: impl Fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut inputs = 0;
    for entry in fs::read_dir(&folder).expect("each target has a corpus") {
        let path = entry.expect("the folder can be listed").path();
        // Of several panics it names the one at fault.
        eprintln!("{}", path.display());
        check(&fs::read(&path).expect("the input can be read"));
        inputs += 1;
    }
    assert!(inputs > 0, "no input in {}", folder.display());
}

#[test]
fn message() {
    replay("message", oracles::message::check);
}

#[test]
fn outbox() {
    replay("outbox", oracles::outbox::check);
}

#[test]
fn routing() {
    replay("routing", oracles::routing::check);
}

#[test]
fn token() {
    let oracle = oracles::token::Tokens::new();
    replay("token", |input| oracle.check(input));
}

#[test]
fn utf8() {
    replay("utf8", oracles::utf8::check);
}
