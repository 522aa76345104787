//! The interface between tracer's eBPF programs and its user space.
//!
//! It contains layouts, numbers and names only: no formatting, no policy, no allocation. Every struct that
//! crosses the interface is `repr(C)`, has no padding, and any bytes are a value of it: zerocopy's derives check that at
//! compile time. One side writes the bytes, and the other side reads them with `read_from_prefix`.
//!
//! # Invariants
//!
//! 15. In user space, `tracer-core`, `tracer-gvisor`, `tracer-history`, `tracer-reach`, `tracer-export`, `tracer/fuzz`,
//!     `bench` and `xtask` forbid `unsafe` code. `tracer-loader` and `tracer` deny it: a module or function that needs
//!     it allows it at its declaration, with a reason. This crate has one `unsafe impl`, in `pod`. `tests` may use it,
//!     because it makes system calls by number. Each block has a SAFETY line.
#![no_std]

pub mod capture;
pub mod event;
pub mod id;
pub mod ledger;
pub mod limits;
pub mod loss;
pub mod names;
pub mod object;
pub mod offsets;
pub mod op;
pub mod process;
pub mod sweep;
pub mod trace_event;

#[cfg(feature = "serde")]
mod id_text;
#[cfg(feature = "user")]
mod pod;
