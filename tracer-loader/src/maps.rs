//! Reads the programs' maps (rows, rings and losses), and runs the kernel's iterators and the sweep.

mod iterate;
pub(crate) mod ledgers;
#[allow(unsafe_code, reason = "a thread's policy is changed by a function of C")]
pub(crate) mod real_time;
#[allow(unsafe_code, reason = "tokio asks for a promise about the descriptors that it waits for")]
pub(crate) mod ring;
pub(crate) mod sweep;
