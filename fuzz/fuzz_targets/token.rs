//! See `pid1_fuzz::token`.
#![no_main]

use std::sync::OnceLock;

use pid1_fuzz::token::Tokens;

/// Made once: it costs more than an execution.
static ORACLE: OnceLock<Tokens> = OnceLock::new();

libfuzzer_sys::fuzz_target!(|data: &[u8]| ORACLE.get_or_init(Tokens::new).check(data));
