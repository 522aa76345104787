//! Entry point of libFuzzer for [`tracer_fuzz::session`].
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| tracer_fuzz::session::check(input));
