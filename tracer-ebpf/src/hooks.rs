//! The hooks: one file for each subject, each a shell around a function that leaves early.
//!
//! Most have two shells. Since Linux 7.0 programs on typed tracepoints can be preempted, and while one rests the
//! kernel skips that program for every other task on the CPU (`bpf_prog_get_recursion_context`,
//! include/linux/bpf.h): whole time slices of calls would be missing. There the loader attaches to trace events
//! instead, which run with preemption off (`perf_trace_*`, include/trace/perf.h). Their fields lie behind
//! `struct trace_entry`.

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

use aya_ebpf::{EbpfContext as _, programs::TracePointContext};

/// A field of a trace event.
#[inline(always)]
fn field<T: Copy, const OFFSET: usize>(ctx: &TracePointContext) -> T {
    // SAFETY: the loader has made sure that the record has a field of this size there, and the verifier
    // refuses what leads out of it.
    unsafe { *ctx.as_ptr().byte_add(OFFSET).cast::<T>() }
}
