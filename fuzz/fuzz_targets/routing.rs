//! See `pid1_fuzz::routing`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| pid1_fuzz::routing::check(data));
