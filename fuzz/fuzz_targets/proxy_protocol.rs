//! Runs [`portolan_fuzz::proxy_protocol`] under the engine.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| portolan_fuzz::proxy_protocol(input));
