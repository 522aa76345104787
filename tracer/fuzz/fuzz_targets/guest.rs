//! Entry point of libFuzzer for [`tracer_fuzz::guest`].
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| tracer_fuzz::guest::check(input));
