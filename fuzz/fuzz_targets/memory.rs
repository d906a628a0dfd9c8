//! Runs [`portolan_fuzz::memory`] under the engine.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| portolan_fuzz::memory(input));
