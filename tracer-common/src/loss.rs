//! Reasons why an event or a transfer was not recorded.
//!
//! A reason with a count above 0 appears in every report and lowers the confidence of the findings.

use zerocopy::{FromBytes, IntoBytes};

/// The counters of one reason.
#[repr(C)]
#[derive(FromBytes, IntoBytes, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default))]
pub struct LossCell {
    /// Number of lost records.
    pub events: u64,
    /// Number of transferred bytes that they covered, as far as known.
    pub bytes: u64,
}

/// Why something was not recorded. The value is the index of the cell in the map of losses.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The ring buffer had no room for a lifecycle event.
    RingFull,
    /// The process table was full: a process was not followed.
    ProcessesFull,
    /// The ledger was full: a transfer has no row.
    LedgerFull,
    /// The object table was full: an object is not watched.
    ObjectsFull,
    /// User memory could not be read (`sendmmsg` lengths, iovecs, socket addresses).
    UserMemory,
    /// A kernel structure could not be read.
    KernelMemory,
    /// Another thread closed the fd before the call returned: the object of the transfer is unknown.
    FdGone,
    /// The table of io_uring requests in flight was full.
    UringFull,
    /// An io_uring request completed that was submitted before the hooks were attached.
    UringUnmatched,
    /// An io_uring request with `IOSQE_CQE_SKIP_SUCCESS` posts no completion: its bytes are unknown.
    UringSilent,
    /// `io_uring` was used on a kernel whose tracepoints do not provide the file.
    UringNotCovered,
    /// `io_submit(2)` (Linux native AIO) was used; its transfers are not counted.
    AioNotCovered,
    /// A program made an x32 syscall that moves bytes; x32 syscall numbers are not decoded.
    X32NotCovered,
    /// A record of the ring buffer could not be decoded (counted in user space).
    Undecodable,
    /// The kernel skipped a program that was already running on that CPU (`recursion_misses`, read in
    /// user space).
    SkippedRuns,
    /// The table of read ends was full: the close of a read end will not be reported.
    ReadEndsFull,
    /// A seccomp supervisor or a tracer may have answered the call instead of the kernel, and the kernel keeps no
    /// count that would tell.
    MaybeAnswered,
    /// An io_uring completion that names no request fits several requests in progress.
    UringAmbiguous,
    /// A process discarded what was in a terminal (`tcflush(3)`): how much is unknown.
    TtyFlushed,
    /// The fd or the number of bytes of a call is in memory that another thread can change after the call (`sendmmsg`,
    /// `recvmmsg`, `socketcall`).
    MemoryChanged,
    /// A thread replaced an fd while another one may have been writing or reading through it: its bytes went to either
    /// object, or came from either.
    FdRaced,
    /// The kernel counted more written bytes for a process than tracer, or a file grew by more than was written to it
    /// (counted in user space).
    Uncounted,
    /// A call failed, or said that it moved fewer messages than it was given: after it may have moved bytes, it could not
    /// store a number in the caller's memory.
    MaybeMoved,
}

impl Reason {
    /// All reasons, in index order.
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
        Self::MaybeAnswered,
        Self::UringAmbiguous,
        Self::TtyFlushed,
        Self::MemoryChanged,
        Self::FdRaced,
        Self::Uncounted,
        Self::MaybeMoved,
    ];

    /// Whether it concerns only the object of a row, which has it in [`LedgerRow::doubts`](crate::ledger::LedgerRow).
    /// All other reasons concern the whole trace.
    #[must_use]
    pub const fn is_of_object(self) -> bool {
        matches!(
            self,
            Self::MaybeAnswered
                | Self::UringAmbiguous
                | Self::TtyFlushed
                | Self::MemoryChanged
                | Self::FdRaced
                | Self::Uncounted
                | Self::MaybeMoved
        )
    }

    /// Its bit in [`LedgerRow::doubts`](crate::ledger::LedgerRow).
    #[must_use]
    pub const fn bit(self) -> u32 {
        1 << self as u32
    }

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
            Self::MaybeAnswered => "maybe_answered",
            Self::UringAmbiguous => "uring_ambiguous",
            Self::TtyFlushed => "tty_flushed",
            Self::MemoryChanged => "memory_changed",
            Self::FdRaced => "fd_raced",
            Self::Uncounted => "uncounted",
            Self::MaybeMoved => "maybe_moved",
        }
    }
}

/// Number of reasons.
pub const COUNT: u32 = 23;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_value_of_each_reason_is_its_index() {
        assert!((0..).zip(Reason::ALL).all(|(index, reason)| reason as u32 == index));
    }
}
