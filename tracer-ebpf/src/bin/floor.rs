//! The least that any tracer on `sys_exit` costs: a program on the same hook that does nothing.
//! `cargo xtask bench` measures against it; it is no part of the tool's own object.
#![cfg_attr(target_arch = "bpf", no_std)]
#![cfg_attr(target_arch = "bpf", no_main)]

#[path = "../runtime.rs"]
mod runtime;

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};

/// Returns at once.
#[btf_tracepoint(function = "sys_exit")]
pub(crate) fn floor(_ctx: BtfTracePointContext) -> i32 {
    0
}

/// Lets `cargo clippy` and `cargo doc` look at this crate on the host; nothing runs there.
#[cfg(not(target_arch = "bpf"))]
fn main() {}
