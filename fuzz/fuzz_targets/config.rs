//! Runs [`portolan_fuzz::config`] under the engine.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| portolan_fuzz::config(input));
