//! See `pid1_fuzz::utf8`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| pid1_fuzz::utf8::check(data));
