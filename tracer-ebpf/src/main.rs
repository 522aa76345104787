//! tracer's eBPF programs. They count the bytes of every write and read of the traced processes, per
//! process, fd and object, and send the lifecycle events that a verdict needs.
//!
//! Each file in `hooks/` has the entry points of one hook and a function that returns early. No write sends a
//! record: the ledger's maps have the sums, and lifecycle events go through the ring buffer.
//!
//! # Invariants
//!
//! 1. `kread` reads kernel memory, and `usermem` reads memory of traced programs. There are two exceptions: `hooks` and
//!    `regs` read what the kernel gives to a hook (its arguments, the saved registers); and some modules fill a buffer
//!    by a helper call of their own: `object`, `object::path` and `object::socket` from kernel memory, `hooks::exec`
//!    and `capture::send` from memory of programs.
//! 2. What cannot be recorded is counted under a named reason ([`events::loss`]). No map evicts an entry silently.
//! 3. Each map entry that a program inserts is removed on every path on which its process, object, call or
//!    request can end ([`maps`]).
//! 4. A function with a loop is exported, so that the verifier checks it once. A long loop is split into two
//!    nested short ones.
//! 5. A row is opened and bytes are captured from the program's outermost stack frame: kernels before 6.13 limit all
//!    frames of a call chain to 512 bytes together.
#![cfg_attr(target_arch = "bpf", no_std)]
#![cfg_attr(target_arch = "bpf", no_main)]
#![cfg_attr(
    target_arch = "bpf",
    expect(unstable_features, reason = "inline assembly for BPF is not stable"),
    feature(asm_experimental_arch)
)]

mod capture;
mod events;
mod hooks;
mod kernel;
mod ledger;
mod maps;
mod object;
mod read_ends;
mod sweep;
mod syscalls;
mod targets;

/// Lets `cargo clippy` and `cargo doc` compile this crate for the host; it never runs there.
#[cfg(not(target_arch = "bpf"))]
fn main() {}
