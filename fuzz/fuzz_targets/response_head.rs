//! Runs [`portolan_fuzz::response_head`] under the engine.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| portolan_fuzz::response_head(input));
