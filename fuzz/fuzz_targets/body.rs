//! Runs [`portolan_fuzz::body`] under the engine.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| portolan_fuzz::body(input));
