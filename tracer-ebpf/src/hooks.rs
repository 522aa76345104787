//! The hooks: one file per topic.
//!
//! Most hooks have two entry points. Since Linux 7.0, programs on typed tracepoints can be preempted. While a
//! program is preempted, the kernel skips it for all other tasks on that CPU (`bpf_prog_get_recursion_context`,
//! include/linux/bpf.h), so the calls of whole time slices would be missed. On such kernels the loader attaches
//! to trace events instead, which run with preemption disabled (`perf_trace_*`, include/trace/perf.h). Their
//! fields follow `struct trace_entry`.

#![allow(clippy::needless_pass_by_value, reason = "aya's macro passes the context by value")]

mod cgroup_attach;
mod exec;
mod exit;
mod fexit;
mod fork;
pub(crate) mod io_uring;
mod iterators;
mod signal;
mod sys_exit;

use aya_ebpf::{
    EbpfContext as _,
    programs::{BtfTracePointContext, TracePointContext},
};

use crate::kernel::kread::Kptr;

/// Reads a field of a trace event.
#[inline(always)]
fn event_field<T: Copy, const OFFSET: usize>(ctx: &TracePointContext) -> T {
    // SAFETY: the loader has verified that the record has a field of this size at this offset, and the
    // verifier rejects reads outside the record.
    unsafe { *ctx.as_ptr().byte_add(OFFSET).cast::<T>() }
}

/// Argument `N` of a typed tracepoint as an integer: exported functions cannot take a typed pointer. 0 if it cannot be
/// read.
#[inline(always)]
fn integer<const N: u64>(ctx: &BtfTracePointContext) -> u64 {
    Kptr(ctx.as_ptr() as u64 + 8 * N).read().unwrap_or(0)
}
