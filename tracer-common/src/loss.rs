//! Every way in which the kernel side can fail to record something, with a name.
//!
//! A reason that was never hit costs nothing and prints nothing. One that was hit is shown in every
//! report and lowers the confidence of its findings.

use crate::assert_layout;

/// One reason's count.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default))]
pub struct LossCell {
    /// How many facts were lost.
    pub events: u64,
    /// How many transferred bytes they stood for, where that is known.
    pub bytes: u64,
}

assert_layout!(LossCell, 16);

/// The ring buffer had no room for a lifecycle event.
pub const RING_FULL: u32 = 0;
/// The process table was full: a process was not followed.
pub const PROCESSES_FULL: u32 = 1;
/// The ledger was full: bytes were transferred and have no row.
pub const LEDGER_FULL: u32 = 2;
/// The object table was full: an object is not under watch.
pub const OBJECTS_FULL: u32 = 3;
/// User memory could not be read (`sendmmsg` lengths, iovecs, socket addresses).
pub const USER_MEMORY: u32 = 4;
/// A kernel structure could not be read.
pub const KERNEL_MEMORY: u32 = 5;
/// The fd was closed by another thread before the call returned: bytes without an object.
pub const FD_GONE: u32 = 6;
/// The table of io_uring requests in flight was full.
pub const URING_FULL: u32 = 7;
/// An io_uring request completed whose submission was not seen (submitted before the attach).
pub const URING_UNMATCHED: u32 = 8;
/// An io_uring request asked for no completion (`IOSQE_CQE_SKIP_SUCCESS`): its bytes are unknown.
pub const URING_SILENT: u32 = 9;
/// `io_uring` was used on a kernel whose tracepoints do not name the file.
pub const URING_NOT_COVERED: u32 = 10;
/// `io_submit(2)` (Linux native AIO) was used; its transfers are not counted.
pub const AIO_NOT_COVERED: u32 = 11;
/// A program with the x32 ABI made a syscall that moves bytes; its numbers are not decoded.
pub const X32_NOT_COVERED: u32 = 12;
/// A record of the ring buffer could not be decoded (counted in user space).
pub const UNDECODABLE: u32 = 13;
/// The kernel skipped a program that was already running on that CPU (`recursion_misses`, read in
/// user space).
pub const SKIPPED_RUNS: u32 = 14;
/// The table of read ends was full: who closes one will not be known.
pub const READ_ENDS_FULL: u32 = 15;
/// How many reasons there are.
pub const COUNT: u32 = 16;

/// Machine-readable names, in index order; also the keys of `losses` in the JSON report.
#[rustfmt::skip]
pub const NAMES: [&str; COUNT as usize] = [
    "ring_full", "processes_full", "ledger_full", "objects_full", "user_memory", "kernel_memory",
    "fd_gone", "uring_full", "uring_unmatched", "uring_silent", "uring_not_covered",
    "aio_not_covered", "x32_not_covered", "undecodable", "skipped_runs", "read_ends_full",
];
