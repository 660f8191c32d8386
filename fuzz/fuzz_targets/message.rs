//! See `pid1_fuzz::message`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| pid1_fuzz::message::check(data));
