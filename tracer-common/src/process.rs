//! The process table's entry: who is followed, and in which role.

use zerocopy::{FromBytes, IntoBytes};

use crate::{assert_layout, limits};

/// Named by the user, or found as a descendant or cgroup member: every fd of interest counts.
pub const ROLE_TARGET: u32 = 1;
/// Not a target, but writes to or reads from an object under watch: only those objects count.
pub const ROLE_PARTICIPANT: u32 = 2;

/// The slot of a process in the filter of followed processes.
#[must_use]
#[inline(always)]
pub const fn tgid_filter_slot(tgid: u32) -> u32 {
    tgid & (limits::TGID_FILTER_SLOTS - 1)
}

/// One followed process.
#[repr(C)]
#[derive(FromBytes, IntoBytes, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProcessEntry {
    /// Start of the leader, nanoseconds since boot; 0 until the adopting iterator has seen it.
    pub start_ns: u64,
    /// [`ROLE_TARGET`] or [`ROLE_PARTICIPANT`].
    pub role: u32,
    /// Facts emitted so far, all kinds.
    pub facts: u32,
    /// Bytes written through fds that are not of interest, to objects not under watch.
    pub other_bytes: u64,
    /// Calls that wrote them.
    pub other_calls: u64,
    /// Bit n: fd n was asked `TCGETS` and said no; bit 8+n: it said yes.
    pub tty_asked: u32,
    /// How many readers away from the target this process is; its output is followed when this is not
    /// 0. The manager that reads a target's pipe is 1.
    pub hop: u32,
    /// Address of the leader's `struct task_struct`; 0 until the adopting iterator has seen it. It is checked
    /// against `start_ns` before it is believed.
    pub task: u64,
    /// Reading ends that are noted of this process. Bit n: fd n; bit [`HIGH_ENDS`]: at least one of a higher fd.
    pub read_ends: u64,
}

/// The bit of [`ProcessEntry::read_ends`] that stands for every fd from this number on.
pub const HIGH_ENDS: u32 = 63;

assert_layout!(ProcessEntry, 56);
