//! Runs [`portolan_fuzz::request_head`] under the engine.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| portolan_fuzz::request_head(input));
