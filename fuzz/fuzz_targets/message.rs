//! See `pid1_fuzz::message`.
#![no_main]

use std::sync::OnceLock;

use pid1_fuzz::message::Messages;

/// Made once: it costs more than an execution.
static ORACLE: OnceLock<Messages> = OnceLock::new();

libfuzzer_sys::fuzz_target!(|data: &[u8]| ORACLE.get_or_init(Messages::new).check(data));
