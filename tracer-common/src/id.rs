//! The identity of a process.

use zerocopy::{FromBytes, IntoBytes};

/// Identifies a process, also among processes that had the same pid before.
///
/// `start_ns` is `task_struct.start_boottime` of the thread group leader (nanoseconds since boot,
/// Linux 5.5 and later). It survives `exec` by any thread, because `de_thread()` copies it to the new leader.
#[repr(C)]
#[derive(
    FromBytes, IntoBytes, Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord,
)]
pub struct ProcessId {
    /// Start time of the thread group leader, nanoseconds since boot.
    pub start_ns: u64,
    /// Thread group id in the initial pid namespace: the pid that users see.
    pub tgid: u32,
    /// 0 for a process of this kernel. User space gives the guests of a gVisor sandbox its number in the session, from
    /// 1 on; their tgid is the one inside.
    pub sandbox: u32,
}

impl ProcessId {
    /// The process of this kernel with this tgid that started at `start_ns`.
    #[must_use]
    #[inline(always)]
    pub const fn new(tgid: u32, start_ns: u64) -> Self {
        Self { start_ns, tgid, sandbox: 0 }
    }
}
