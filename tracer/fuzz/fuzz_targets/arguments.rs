//! Entry point of libFuzzer for [`tracer_fuzz::arguments`].
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| tracer_fuzz::arguments::check(input));
