//! See `pid1_fuzz::outbox`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| pid1_fuzz::outbox::check(data));
