//! Captured bytes, as they travel through a ring buffer of their own.
//!
//! A record is a [`Header`](crate::event::Header) whose `kind` is [`KIND`], followed by a [`Chunk`],
//! followed by as many bytes as `Header::text_len` says: what one write put into its object, or a part
//! of it. A large write is several records with the same time and tid.

use zerocopy::{FromBytes, IntoBytes};

use crate::{assert_layout, ledger::LedgerKey, limits, object::ObjectId};

/// `Header::kind` of every record in the capture ring.
pub const KIND: u32 = 100;

/// Bytes in a full record; a larger write is cut into pieces of this length.
pub const CHUNK: usize = 16 << 10;

/// Bytes of one call that are captured at most; the rest is a gap. Bounds the time that one call spends
/// in the kernel side.
pub const CALL: u64 = 32 << 20;

/// What one write (or a part of it) put into its object.
#[repr(C)]
#[derive(FromBytes, IntoBytes, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Chunk {
    /// The row it is booked in: who, on what, through which fd. The direction is always a write.
    pub key: LedgerKey,
    /// Bytes of this row that found no room in the ring so far. Never decreases, apart from records
    /// of several threads that overtake each other.
    pub lost: u64,
    /// Bytes of the stream that this record stands for: those behind it, or those that are missing.
    pub length: u64,
    /// The thread that wrote; of an io_uring request the one that completed it.
    pub tid: u32,
    /// [`crate::op`] code.
    pub op: u32,
    /// Why no bytes follow, [`gap`]; [`gap::NONE`] when they do.
    pub gap: u32,
    /// The fd that a copy came from; -1 for everything else.
    pub source_fd: i32,
    /// What that fd points to.
    pub source: ObjectId,
    /// Name of the thread.
    pub comm: [u8; limits::COMM],
}

/// Why the kernel side has no bytes, [`Chunk::gap`].
pub mod gap {
    /// The bytes are there.
    pub const NONE: u32 = 0;
    /// They went from fd to fd inside the kernel (`sendfile`, `splice`, `tee`, `copy_file_range`).
    pub const COPIED: u32 = 1;
    /// The caller's memory could not be read: paged out, or changed by another thread.
    pub const UNREADABLE: u32 = 2;
    /// An io_uring request whose memory is not known any more when it completes.
    pub const URING: u32 = 3;
    /// What a single call wrote beyond [`super::CALL`] bytes.
    pub const TOO_LARGE: u32 = 4;
}

assert_layout!(Chunk, 104);
// Lengths below it are masked.
const _: () = assert!(CHUNK.is_power_of_two());
