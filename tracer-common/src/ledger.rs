//! The ledger: each row counts the transfers of one process on one object through one fd in one direction.

use zerocopy::{FromBytes, IntoBytes};

use crate::{id::ProcessId, limits, object::ObjectId};

/// Direction: bytes go into the object.
pub const WRITE: u32 = 0;
/// Direction: bytes come out of the object.
pub const READ: u32 = 1;

/// Key of a row.
#[repr(C)]
#[derive(
    FromBytes, IntoBytes, Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord,
)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default))]
pub struct LedgerKey {
    /// The process.
    pub process: ProcessId,
    /// The object.
    pub object: ObjectId,
    /// The fd number.
    pub fd: i32,
    /// [`WRITE`] or [`READ`].
    pub direction: u32,
}

/// Error classes, as indices into [`LedgerRow::errors`].
pub mod error {
    /// No reader is left.
    pub const EPIPE: u32 = 0;
    /// The object is full (or empty) and the fd is non-blocking.
    pub const EAGAIN: u32 = 1;
    /// The fd is not open, or not open for this direction.
    pub const EBADF: u32 = 2;
    /// The disk is full.
    pub const ENOSPC: u32 = 3;
    /// Hardware error or hang-up.
    pub const EIO: u32 = 4;
    /// A signal interrupted the call before any byte was transferred.
    pub const EINTR: u32 = 5;
    /// Any other errno.
    pub const OTHER: u32 = 6;
    /// No error of the kernel, which never ran the call: seccomp trapped it, or a supervisor or a tracer answered it.
    pub const NOT_RUN: u32 = 7;
    /// The file would become larger than the limit of the process or of the file system.
    pub const EFBIG: u32 = 8;
    /// The user's quota of disk space is used up.
    pub const EDQUOT: u32 = 9;
    /// Number of classes.
    pub const COUNT: usize = 10;
    /// Names from `errno(3)`, in index order; `OTHER` and `NOT_RUN` are none of them.
    pub const NAMES: [&str; COUNT] = [
        "EPIPE", "EAGAIN", "EBADF", "ENOSPC", "EIO", "EINTR", "OTHER", "NOT_RUN", "EFBIG", "EDQUOT",
    ];
}

/// Counters of a row. Sums are exact: concurrent changes use atomic adds.
#[repr(C)]
#[derive(FromBytes, IntoBytes, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default))]
pub struct LedgerRow {
    /// Bytes transferred, as the kernel returned them.
    pub bytes: u64,
    /// Calls that returned 0 or more.
    pub calls: u64,
    /// Requested bytes of all calls that failed with `EAGAIN`. A caller that retries counts the same bytes
    /// again.
    pub refused: u64,
    /// Time of the first call, nanoseconds since boot.
    pub first_ns: u64,
    /// Time of the last call, nanoseconds since boot.
    pub last_ns: u64,
    /// Calls that transferred some bytes, but fewer than requested.
    pub short: u32,
    /// Calls that returned 0.
    pub zero: u32,
    /// Failed calls by class, see [`error`].
    #[cfg_attr(feature = "serde", serde(deserialize_with = "classes"))]
    pub errors: [u32; error::COUNT],
    /// Bit set of [`crate::op`] codes, `1 << op`.
    pub ops: u32,
    /// Why the counts may be wrong: the [bits](crate::loss::Reason::bit) of reasons that concern this object only.
    pub doubts: u32,
    /// Requested bytes of the latest call that failed with `EAGAIN`; 0 after a call that succeeded.
    pub last_refused: u64,
    /// Requested bytes of all calls that failed with another error, except `EINTR`.
    pub failed: u64,
    /// Number of the window (see [`WINDOW_SHIFT`]) of the latest transfer.
    pub window: u64,
    /// Bytes transferred before [`LedgerRow::window`] began.
    pub before_window: u64,
    /// Bytes transferred in the window before [`LedgerRow::window`].
    pub previous_window_bytes: u64,
    /// Bytes copied into the capture ring ([`crate::capture`]); 0 if capture is off.
    pub captured: u64,
    /// Bytes that were not captured because the ring was full.
    pub uncaptured: u64,
}

/// Reads [`LedgerRow::errors`], also of a recording that knows fewer classes.
#[cfg(feature = "serde")]
fn classes<'de, D: serde::Deserializer<'de>>(from: D) -> Result<[u32; error::COUNT], D::Error> {
    struct Classes;
    impl<'de> serde::de::Visitor<'de> for Classes {
        type Value = [u32; error::COUNT];

        fn expecting(&self, out: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
            out.write_str("counts by error class")
        }

        fn visit_seq<A: serde::de::SeqAccess<'de>>(
            self,
            mut list: A,
        ) -> Result<Self::Value, A::Error> {
            let mut counts = Self::Value::default();
            for count in &mut counts {
                *count = list.next_element()?.unwrap_or(0);
            }
            Ok(counts)
        }
    }
    from.deserialize_seq(Classes)
}

impl LedgerRow {
    /// A row without any transfer.
    pub const ZERO: Self = Self {
        bytes: 0,
        calls: 0,
        refused: 0,
        first_ns: 0,
        last_ns: 0,
        short: 0,
        zero: 0,
        errors: [0; error::COUNT],
        ops: 0,
        doubts: 0,
        last_refused: 0,
        failed: 0,
        window: 0,
        before_window: 0,
        previous_window_bytes: 0,
        captured: 0,
        uncaptured: 0,
    };

    /// Bytes transferred in [`LedgerRow::window`].
    #[must_use]
    pub const fn window_bytes(&self) -> u64 {
        self.bytes.saturating_sub(self.before_window)
    }

    /// Bytes transferred in the two latest windows.
    #[must_use]
    pub const fn last_moments_bytes(&self) -> u64 {
        self.window_bytes().saturating_add(self.previous_window_bytes)
    }
}

/// The result with which a call counts that the kernel never ran. The kernel's own error numbers end before it
/// (`MAX_ERRNO`, `include/linux/err.h`).
pub const NOT_RUN: i64 = -4096;

/// What the kernel counted for a thread (`struct task_io_accounting`, `include/linux/task_io_accounting.h`).
#[repr(C)]
#[derive(FromBytes, IntoBytes, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ThreadIo {
    /// Start time of the thread, nanoseconds since boot.
    pub start_ns: u64,
    /// Bytes that its calls have read (`rchar`).
    pub read: u64,
    /// Bytes that its calls have written (`wchar`).
    pub written: u64,
}

impl ThreadIo {
    /// Nothing counted.
    pub const ZERO: Self = Self { start_ns: 0, read: 0, written: 0 };
}

/// Key of most rows: process, fd and direction. It is short because every transfer looks it up.
#[repr(C)]
#[derive(FromBytes, IntoBytes, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FdKey {
    /// Process (tgid in the initial pid namespace).
    pub tgid: u32,
    /// The fd; bit 31 is the direction.
    pub fd_and_direction: u32,
}

impl FdKey {
    /// The key of these three values.
    #[must_use]
    #[inline(always)]
    pub const fn new(tgid: u32, fd: i32, direction: u32) -> Self {
        Self { tgid, fd_and_direction: fd as u32 | direction << 31 }
    }

    /// The direct-mapped slot of this key. The first row that claims a slot keeps it. Processes with
    /// consecutive pids have adjacent slots.
    #[must_use]
    #[inline(always)]
    pub const fn slot(self) -> u32 {
        let fd = self.fd_and_direction & 3;
        (self.tgid << 3 | fd << 1 | self.fd_and_direction >> 31) & (limits::ROW_SLOTS - 1)
    }
}

impl From<&LedgerKey> for FdKey {
    #[inline(always)]
    fn from(key: &LedgerKey) -> Self {
        Self::new(key.process.tgid, key.fd, key.direction)
    }
}

/// Fingerprint of an inode in kernel memory. Inodes with the same address, file system, number and
/// generation are the same object; comparing them takes fewer loads than computing an [`ObjectId`]. Only the
/// eBPF side uses it.
#[repr(C)]
#[derive(FromBytes, IntoBytes, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InodeFingerprint {
    /// Address of the `struct inode`.
    pub address: u64,
    /// Address of its `struct super_block`.
    pub file_system: u64,
    /// `i_ino`.
    pub number: u64,
    /// `i_generation`: distinguishes files that reuse the same inode number.
    pub generation: u64,
}

/// The row of the first object that an fd of a process pointed to. It is in its direct-mapped slot
/// ([`FdKey::slot`]) or, if another row has that slot, under its [`FdKey`]. It stays there until user space
/// removes it. Objects that the fd points to later have rows under the full [`LedgerKey`].
#[repr(C)]
#[derive(FromBytes, IntoBytes, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FdRow {
    /// The full key of the row.
    pub key: LedgerKey,
    /// The counters.
    pub row: LedgerRow,
    /// Fingerprint of the object for the fast path; all zero if it has none.
    pub inode: InodeFingerprint,
    /// The clock tick (`jiffies`) in which the time was last read. Rows of files and devices read the clock
    /// once per tick, at the first transfer in it. 0: the clock is read for every transfer, because the order
    /// of writes and reads matters ([`ORDERED`](crate::object::watch::ORDERED) objects). [`NO_TICK`]: no transfer yet.
    pub tick: u64,
}

/// [`FdRow::tick`] before the first transfer.
pub const NO_TICK: u64 = u64::MAX;

/// An io_uring request in progress.
#[repr(C)]
#[derive(FromBytes, IntoBytes, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UringRequest {
    /// The process that submitted it.
    pub process: ProcessId,
    /// The fd number in the request; -1 for a registered file.
    pub fd: i32,
    /// `ROLE_*` of the process.
    pub role: u32,
    /// What its completions have in common.
    pub group: UringKey,
    /// The most bytes that one completion delivers, if its result can be larger (`MSG_TRUNC`); otherwise `u64::MAX`.
    pub limit: u64,
    /// Bytes of each result that do not come from the socket (`struct io_uring_recvmsg_out`).
    pub header: u32,
    /// [`WRITE`] or [`READ`].
    pub direction: u32,
}

/// What a completion without a request says about it. Requests that are in progress at the same time can have the same
/// key.
#[repr(C)]
#[derive(FromBytes, IntoBytes, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UringKey {
    /// Address of the `struct io_ring_ctx`.
    pub ring: u64,
    /// `user_data` of the request.
    pub user_data: u64,
    /// 1 if a request can complete several times.
    pub repeats: u64,
}

/// The io_uring requests in progress that have the same [`UringKey`].
#[repr(C)]
#[derive(FromBytes, IntoBytes, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UringGroup {
    /// A request of the group, by address; 0 if none is known.
    pub request: u64,
    /// A request with another fd, process or direction than the first; 0 if none is known.
    pub other: u64,
    /// Number of requests.
    pub live: u64,
    /// 1 if not all requests have had the same process, fd and direction.
    pub mixed: u64,
    /// The first request.
    pub first: UringRequest,
}

/// A window is `1 << WINDOW_SHIFT` nanoseconds: 67.1 ms. Each row keeps the byte counts of its two latest
/// windows. They show how much a process wrote just before its end, without an event per write.
pub const WINDOW_SHIFT: u32 = 26;
