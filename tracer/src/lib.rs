//! Says where a program's output went: counted in the kernel, both ends, with a verdict.
//!
//! Data flows one way: kernel → [`loader`] → [`event`] → [`session`] → [`verdict`] → [`report`] →
//! [`render`]. Only `loader` knows aya, only `cli` knows clap, only renderers print. `session`,
//! `verdict` and `report` do no I/O and read no clock. [`recording`] saves what goes into `session` and
//! puts it in again.

#![deny(unsafe_code)]

pub mod app;
pub mod arguments;
mod bounded_line;
pub mod btf;
pub mod capture;
pub mod cli;
pub mod doctor;
pub mod errno;
pub mod event;
pub mod exit_kind;
mod in_order;
#[allow(
    unsafe_code,
    reason = "what a process began with is seen before Rust's runtime, and by C only"
)]
mod inherited;
pub mod launch;
pub mod loader;
pub mod observe;
mod private_file;
pub mod privileges;
pub mod recording;
pub mod redact;
pub mod render;
pub mod report;
pub mod session;
pub mod settings;
pub mod target;
pub mod variables;
pub mod verdict;
pub mod worker_log;
