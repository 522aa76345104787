//! The ledger: what one process did to one object through one fd, in one direction.

use zerocopy::{FromBytes, IntoBytes};

use crate::{assert_layout, id::ProcessId, limits, object::ObjectId};

/// Bytes put into the object.
pub const WRITE: u32 = 0;
/// Bytes taken out of the object.
pub const READ: u32 = 1;

/// A row's address.
#[repr(C)]
#[derive(
    FromBytes, IntoBytes, Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord,
)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default))]
pub struct LedgerKey {
    /// Who.
    pub process: ProcessId,
    /// On what.
    pub object: ObjectId,
    /// Through which fd number.
    pub fd: i32,
    /// [`WRITE`] or [`READ`].
    pub direction: u32,
}

/// Error classes, as indices into [`LedgerRow::errors`].
pub mod error {
    /// The reader is gone.
    pub const EPIPE: u32 = 0;
    /// The object is full (or empty) and the fd does not block.
    pub const EAGAIN: u32 = 1;
    /// The fd was not open, or not for this direction.
    pub const EBADF: u32 = 2;
    /// The disk is full.
    pub const ENOSPC: u32 = 3;
    /// Hardware or hang-up.
    pub const EIO: u32 = 4;
    /// A signal came first; nothing was transferred.
    pub const EINTR: u32 = 5;
    /// Any other errno.
    pub const OTHER: u32 = 6;
    /// How many classes there are.
    pub const COUNT: usize = 7;
    /// The names users know, in index order.
    pub const NAMES: [&str; COUNT] =
        ["EPIPE", "EAGAIN", "EBADF", "ENOSPC", "EIO", "EINTR", "OTHER"];
}

/// A row's content. Sums are exact: every change is one atomic add.
#[repr(C)]
#[derive(FromBytes, IntoBytes, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default))]
pub struct LedgerRow {
    /// Bytes transferred, as the kernel returned them.
    pub bytes: u64,
    /// Calls that returned 0 or more.
    pub calls: u64,
    /// Bytes that were asked for and refused with `EAGAIN`, summed over all refusals (a caller that
    /// retries is refused the same bytes again).
    pub refused: u64,
    /// First call, nanoseconds since boot.
    pub first_ns: u64,
    /// Last call, nanoseconds since boot.
    pub last_ns: u64,
    /// Calls that transferred fewer bytes than asked for, but some.
    pub short: u32,
    /// Calls that transferred nothing and did not fail.
    pub zero: u32,
    /// Failed calls by class, see [`error`].
    pub errors: [u32; error::COUNT],
    /// Bit set of [`crate::op`] codes, `1 << op`.
    pub ops: u32,
    /// Bytes that the latest call was refused with `EAGAIN`; 0 when a later call succeeded.
    pub last_refused: u64,
    /// The window (see [`WINDOW_SHIFT`]) of the latest transfer.
    pub window: u64,
    /// Bytes transferred before [`LedgerRow::window`] began.
    pub before_window: u64,
    /// Bytes transferred in the window before it.
    pub previous_window_bytes: u64,
    /// Bytes that went into the capture ring ([`crate::capture`]); 0 where nothing is captured.
    pub captured: u64,
    /// Bytes that were to be captured and found no room in the ring.
    pub uncaptured: u64,
}

impl LedgerRow {
    /// A row in which nothing has happened.
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
        last_refused: 0,
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

/// Where most rows are found: what a process did through one fd in one direction. Short, because every
/// transfer looks it up.
#[repr(C)]
#[derive(FromBytes, IntoBytes, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FdKey {
    /// Process (tgid in the initial pid namespace).
    pub tgid: u32,
    /// The fd, with the direction as the highest bit.
    pub fd_and_direction: u32,
}

impl FdKey {
    /// The key under which a row is found first.
    #[must_use]
    #[inline(always)]
    pub const fn new(tgid: u32, fd: i32, direction: u32) -> Self {
        Self { tgid, fd_and_direction: fd as u32 | direction << 31 }
    }

    /// Its slot: where a row of this key is, when it was the first to come there. Processes that were
    /// started one after the other have theirs side by side.
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

/// An inode as the kernel holds it in memory: the same address, file system, number and generation are the
/// same object, and take fewer loads than its [`ObjectId`]. Only kernel side.
#[repr(C)]
#[derive(FromBytes, IntoBytes, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InodeMark {
    /// Address of the `struct inode`.
    pub address: u64,
    /// Address of its `struct super_block`.
    pub file_system: u64,
    /// `i_ino`.
    pub number: u64,
    /// `i_generation`: tells apart files that had the same number one after the other.
    pub generation: u64,
}

/// The row of the first object that an fd of a process led to, in its slot ([`FdKey::slot`]) or, where
/// that was taken, under its [`FdKey`]. Once there, it is this row's until it is taken out: what the fd
/// leads to later has its row under the full key.
#[repr(C)]
#[derive(FromBytes, IntoBytes, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FdRow {
    /// Whose row it is.
    pub key: LedgerKey,
    /// Its content.
    pub row: LedgerRow,
    /// By what its object is recognised at once; all zero where it is not.
    pub inode: InodeMark,
    /// The tick of the kernel's clock (`jiffies`) in which a time was taken last: a file or device has one
    /// time for each tick, that of the first transfer in it. 0 where every transfer has its own, because
    /// the order of writes, reads and looks matters; [`NO_TICK`] before the first transfer.
    pub tick: u64,
}

/// [`FdRow::tick`] of a row without a time.
pub const NO_TICK: u64 = u64::MAX;

/// Who submitted an io_uring request.
#[repr(C)]
#[derive(FromBytes, IntoBytes, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UringRequest {
    /// The process that owns the ring.
    pub process: ProcessId,
    /// The fd number in the request; -1 for a registered file.
    pub fd: i32,
    /// `ROLE_*` of the process.
    pub role: u32,
}

/// A window is `1 << WINDOW_SHIFT` nanoseconds: 67.1 ms. The two latest ones are kept for each row,
/// so that "how much came in the last moments" has an answer without one event per write.
pub const WINDOW_SHIFT: u32 = 26;

assert_layout!(LedgerKey, 40);
assert_layout!(LedgerRow, 128);
assert_layout!(FdKey, 8);
assert_layout!(InodeMark, 32);
assert_layout!(FdRow, 208);
assert_layout!(UringRequest, 24);
