//! The hooks: one file for each subject, each a shell around a function that leaves early.

mod cgroup_attach;
mod exec;
mod exit;
mod fork;
mod io_uring;
mod iterators;
mod signal;
mod sys_exit;
