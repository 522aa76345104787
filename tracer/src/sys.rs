//! tracer's own process: what it inherited across exec, its capabilities, and how it opens the user's files.

pub(crate) mod bounded;
#[allow(
    unsafe_code,
    reason = "what a process began with is seen before Rust's runtime, and by C only"
)]
pub(crate) mod inherited;
pub(crate) mod private_file;
pub mod privileges;
