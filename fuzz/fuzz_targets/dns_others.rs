//! Runs [`portolan_fuzz::dns_others`] under the engine.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| portolan_fuzz::dns_others(input));
