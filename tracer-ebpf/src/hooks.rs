//! The hooks: one file for each subject, each a shell around a function that leaves early.

#![allow(
    clippy::needless_pass_by_value,
    reason = "aya's macro hands each hook its context by value"
)]

mod cgroup_attach;
mod exec;
mod exit;
mod fork;
pub(crate) mod io_uring;
mod iterators;
mod signal;
mod sys_exit;
