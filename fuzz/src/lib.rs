//! What must hold for any input, as functions that panic where it does not. The targets in `fuzz_targets/` call them
//! with what libFuzzer makes up; `tests/corpus.rs` with what is committed in `corpus/`.

mod agent;
mod ledger;
pub mod message;
mod names;
pub mod outbox;
pub mod routing;
pub mod token;
pub mod utf8;
