//! See `pid1_fuzz::routing`.
#![no_main]

use std::sync::OnceLock;

use pid1_fuzz::routing::Routing;

/// Made once: it costs more than an execution.
static ORACLE: OnceLock<Routing> = OnceLock::new();

libfuzzer_sys::fuzz_target!(|data: &[u8]| ORACLE.get_or_init(Routing::new).check(data));
