//! Every way in which the kernel side can fail to record something, with a name.
//!
//! A reason that was never hit costs nothing and prints nothing. One that was hit is shown in every
//! report and lowers the confidence of its findings.

use zerocopy::{FromBytes, IntoBytes};

use crate::assert_layout;

/// One reason's count.
#[repr(C)]
#[derive(FromBytes, IntoBytes, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default))]
pub struct LossCell {
    /// How many facts were lost.
    pub events: u64,
    /// How many transferred bytes they stood for, where that is known.
    pub bytes: u64,
}

assert_layout!(LossCell, 16);

/// Why a fact was not recorded: the index of its cell in the map of losses.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The ring buffer had no room for a lifecycle event.
    RingFull,
    /// The process table was full: a process was not followed.
    ProcessesFull,
    /// The ledger was full: bytes were transferred and have no row.
    LedgerFull,
    /// The object table was full: an object is not under watch.
    ObjectsFull,
    /// User memory could not be read (`sendmmsg` lengths, iovecs, socket addresses).
    UserMemory,
    /// A kernel structure could not be read.
    KernelMemory,
    /// The fd was closed by another thread before the call returned: bytes without an object.
    FdGone,
    /// The table of io_uring requests in flight was full.
    UringFull,
    /// An io_uring request completed whose submission was not seen (submitted before the attach).
    UringUnmatched,
    /// An io_uring request asked for no completion (`IOSQE_CQE_SKIP_SUCCESS`): its bytes are unknown.
    UringSilent,
    /// `io_uring` was used on a kernel whose tracepoints do not name the file.
    UringNotCovered,
    /// `io_submit(2)` (Linux native AIO) was used; its transfers are not counted.
    AioNotCovered,
    /// A program with the x32 ABI made a syscall that moves bytes; its numbers are not decoded.
    X32NotCovered,
    /// A record of the ring buffer could not be decoded (counted in user space).
    Undecodable,
    /// The kernel skipped a program that was already running on that CPU (`recursion_misses`, read in
    /// user space).
    SkippedRuns,
    /// The table of read ends was full: who closes one will not be known.
    ReadEndsFull,
}

impl Reason {
    /// All of them, in index order.
    pub const ALL: [Self; COUNT as usize] = [
        Self::RingFull,
        Self::ProcessesFull,
        Self::LedgerFull,
        Self::ObjectsFull,
        Self::UserMemory,
        Self::KernelMemory,
        Self::FdGone,
        Self::UringFull,
        Self::UringUnmatched,
        Self::UringSilent,
        Self::UringNotCovered,
        Self::AioNotCovered,
        Self::X32NotCovered,
        Self::Undecodable,
        Self::SkippedRuns,
        Self::ReadEndsFull,
    ];

    /// Machine-readable name: its key in `losses` of the JSON report.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::RingFull => "ring_full",
            Self::ProcessesFull => "processes_full",
            Self::LedgerFull => "ledger_full",
            Self::ObjectsFull => "objects_full",
            Self::UserMemory => "user_memory",
            Self::KernelMemory => "kernel_memory",
            Self::FdGone => "fd_gone",
            Self::UringFull => "uring_full",
            Self::UringUnmatched => "uring_unmatched",
            Self::UringSilent => "uring_silent",
            Self::UringNotCovered => "uring_not_covered",
            Self::AioNotCovered => "aio_not_covered",
            Self::X32NotCovered => "x32_not_covered",
            Self::Undecodable => "undecodable",
            Self::SkippedRuns => "skipped_runs",
            Self::ReadEndsFull => "read_ends_full",
        }
    }
}

/// How many reasons there are.
pub const COUNT: u32 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_lies_at_its_index() {
        assert!((0..).zip(Reason::ALL).all(|(index, reason)| reason as u32 == index));
    }
}
