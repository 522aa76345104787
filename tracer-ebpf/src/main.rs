//! tracer's kernel side: counts the bytes of every write and read of the traced processes, per
//! process, fd and object, and reports the lifecycle facts that a verdict needs.
//!
//! Each file in `hooks/` has the entry points of one hook, around a function that returns early. No write
//! sends a record: sums are in the ledger's maps, and lifecycle facts go through the ring buffer.
//!
//! # Invariants
//!
//! 1. Only `kread` reads kernel memory; only `usermem` reads memory of traced programs.
//! 2. What cannot be recorded is counted under a named reason ([`loss`]). No map evicts an entry silently.
//! 3. Each entry that a program puts into a map is taken out on every path on which its process, object, call or
//!    request can end ([`maps`]).
//! 4. A function with a loop is exported, so that the verifier checks it once. A long loop is two short ones, one
//!    within the other.
//! 5. A row is opened, and bytes are captured, from the program's outermost stack frame: kernels before 6.13 give all
//!    frames of a call chain 512 bytes together.
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
mod sweep;
mod syscalls;
mod task;
mod usermem;

/// Lets `cargo clippy` and `cargo doc` look at this crate on the host; nothing runs there.
#[cfg(not(target_arch = "bpf"))]
fn main() {}
