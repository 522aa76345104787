//! tracer's own process: what it inherited across exec, its helper processes, its limits, signals and
//! capabilities, and how it opens the user's files.

pub(crate) mod bounded;
pub(crate) mod cgroup_namespace;
#[allow(unsafe_code, reason = "the CPU-time clock of another thread is read by C only")]
pub(crate) mod cpu_clock;
#[allow(unsafe_code, reason = "fork, and what a child may do with descriptors, have no safe form")]
pub mod helper;
#[allow(
    unsafe_code,
    reason = "what a process began with is seen before Rust's runtime, and by C only"
)]
pub(crate) mod inherited;
pub mod limits;
pub(crate) mod private_file;
pub mod privileges;
pub(crate) mod processes;
pub mod report_files;
pub mod run_folder;
#[allow(unsafe_code, reason = "the action of a signal is set by C only")]
pub(crate) mod signal;
pub(crate) mod unix_socket;
pub mod user_file;
