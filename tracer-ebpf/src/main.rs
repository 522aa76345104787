//! tracer's kernel side: counts the bytes of every write and read of the traced processes, per
//! process, fd and object, and reports the lifecycle facts that a verdict needs.
//!
//! Shape: each file in `hooks/` is a thin shell around a function that leaves early. Nothing is sent
//! per write; sums live in the ledger map and lifecycle facts go through the ring buffer. Whatever
//! cannot be recorded is counted under a reason in [`loss`].
#![cfg_attr(target_arch = "bpf", no_std)]
#![cfg_attr(target_arch = "bpf", no_main)]
#![cfg_attr(
    target_arch = "bpf",
    expect(unstable_features, reason = "inline assembly for BPF is not stable"),
    feature(asm_experimental_arch)
)]

mod adopt;
mod atomic;
mod capture;
mod cgroup;
mod constants;
mod emit;
mod facts;
mod fdlookup;
mod hooks;
mod kread;
mod ledger;
mod loss;
mod maps;
mod membership;
mod object;
mod opening;
mod read_ends;
mod regs;
mod runtime;
mod syscalls;
mod task;
mod usermem;

/// Lets `cargo clippy` and `cargo doc` look at this crate on the host; nothing runs there.
#[cfg(not(target_arch = "bpf"))]
fn main() {}
