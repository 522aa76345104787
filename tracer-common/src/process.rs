//! The entry of a followed process in the process table.

use zerocopy::{FromBytes, IntoBytes};

use crate::limits;

/// A target: named by the user, a descendant of a target, or a member of a target cgroup. Its transfers count
/// on every fd of interest and on every watched object.
pub const ROLE_TARGET: u32 = 1;
/// A participant: a process outside the target that reads from or writes to a watched object. Its transfers
/// count on watched objects only.
pub const ROLE_PARTICIPANT: u32 = 2;

/// The slot of a process in the negative filter of followed processes.
#[must_use]
#[inline(always)]
pub const fn tgid_filter_slot(tgid: u32) -> u32 {
    tgid & (limits::TGID_FILTER_SLOTS - 1)
}

/// A followed process.
#[repr(C)]
#[derive(FromBytes, IntoBytes, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProcessEntry {
    /// Start time of the leader, nanoseconds since boot; 0 until the adopting iterator has visited it.
    pub start_ns: u64,
    /// [`ROLE_TARGET`] or [`ROLE_PARTICIPANT`].
    pub role: u32,
    /// Number of facts sent for the current image, of all kinds but cuts of files, and number of cuts sent ([`CUTS_SHIFT`]).
    pub facts: u32,
    /// Bytes written to objects that are not watched, through fds that are not of interest.
    pub other_bytes: u64,
    /// Number of calls that wrote `other_bytes`.
    pub other_calls: u64,
    /// What is known about the current image, as bits ([`mod@mark`]).
    pub marks: u32,
    /// Hop of the output of this process, if it is a relay: a process that reads output of the target. Its
    /// output is followed. The manager that reads a target's pipe has hop 1. 0 for other processes.
    pub hop: u32,
    /// Address of the leader's `struct task_struct`; 0 until the adopting iterator has visited it. It is verified
    /// against `start_ns` before use.
    pub task: u64,
    /// Bytes that the kernel has counted as written by the threads that have ended.
    pub written: u64,
    /// Registered read ends of this process. Bit n: fd n; bit [`HIGH_ENDS`]: at least one fd from that number on.
    pub read_ends: u64,
    /// Number of writes to objects that are not watched, through fds that are not of interest, that a file system refused:
    /// `ENOSPC`, `EFBIG`, `EDQUOT`.
    pub other_failed: u32,
    /// The errno of the latest of them.
    pub other_errno: u32,
}

/// Place of the number of cuts of files in [`ProcessEntry::facts`].
pub const CUTS_SHIFT: u32 = 16;

/// Bits of [`ProcessEntry::marks`].
pub mod mark {
    /// Bit n from here on: `ioctl(TCGETS)` failed on fd n, which is 0, 1 or 2, and this was reported.
    pub const NO_TTY_SHIFT: u32 = 0;
    /// The same for calls that succeeded.
    pub const TTY_SHIFT: u32 = 8;
    /// It was reported that a tracer emulates the calls.
    pub const EMULATED: u32 = 1 << 16;
    /// Bit n from here on: it was reported that fd n was replaced while another thread may have been using it. Bit 3 stands for all fds from 3 on.
    pub const RACED_SHIFT: u32 = 17;
    /// Another process had the same memory when this one was seen, or was created so by this one (`CLONE_VM`).
    pub const SHARES_MEMORY: u32 = 1 << 21;
    /// It was reported that the program asked for the status of fd 1.
    pub const STDOUT_STAT: u32 = 1 << 22;
    /// It created another process with the same table of fds (`CLONE_FILES`), or was created so.
    pub const SHARES_FILES: u32 = 1 << 23;
}

/// The bit of [`ProcessEntry::read_ends`] that all fds from this number on share.
pub const HIGH_ENDS: u32 = 63;
