//! Entry point of libFuzzer for [`tracer_fuzz::decode`].
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| tracer_fuzz::decode::check(input));
