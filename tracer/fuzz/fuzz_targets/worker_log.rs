//! Entry point of libFuzzer for [`tracer_fuzz::worker_log`].
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| tracer_fuzz::worker_log::check(input));
