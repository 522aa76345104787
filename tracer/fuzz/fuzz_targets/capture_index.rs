//! Entry point of libFuzzer for [`tracer_fuzz::capture_index`].
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| tracer_fuzz::capture_index::check(input));
