//! Lower bound of the cost of any tracer on `sys_exit`: an empty program on the same hook.
//! `cargo xtask bench` uses it as the baseline. tracer's own object file does not contain it.
#![cfg_attr(target_arch = "bpf", no_std)]
#![cfg_attr(target_arch = "bpf", no_main)]

#[path = "../kernel/runtime.rs"]
mod runtime;

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};

/// Does nothing.
#[btf_tracepoint(function = "sys_exit")]
pub(crate) fn floor(_ctx: BtfTracePointContext) -> i32 {
    0
}

/// Lets `cargo clippy` and `cargo doc` compile this crate for the host; it never runs there.
#[cfg(not(target_arch = "bpf"))]
fn main() {}
