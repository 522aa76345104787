//! Captured bytes: the format of their records in a separate ring buffer.
//!
//! A record is a [`Header`](crate::event::Header) whose `kind` is [`KIND`], a [`Chunk`], and
//! `Header::text_len` bytes: the data of one write, or a part of it. A large write is split into several
//! records with the same time and tid.

use zerocopy::{FromBytes, IntoBytes};

use crate::{ledger::LedgerKey, limits, object::ObjectId};

/// `Header::kind` of every record in the capture ring.
pub const KIND: u32 = 100;

/// Data bytes in a full record. A larger write is split into chunks of this length.
pub const CHUNK: usize = 16 << 10;

/// Maximum number of bytes captured from one call; the rest is a gap. This bounds the time that the eBPF
/// program adds to one call.
pub const CALL: u64 = 32 << 20;

/// Describes the data of one write, or of a part of it.
#[repr(C)]
#[derive(FromBytes, IntoBytes, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Chunk {
    /// The ledger row of the write: process, object and fd. The direction is always a write.
    pub key: LedgerKey,
    /// Bytes of this row that did not fit into the ring so far. Never decreases, except when records of
    /// several threads arrive out of order.
    pub lost: u64,
    /// Bytes of the stream that this record covers: the data that follows, or the missing bytes of a gap.
    pub length: u64,
    /// The thread that wrote; for an io_uring request, the thread that completed it.
    pub tid: u32,
    /// [`crate::op`] code.
    pub op: u32,
    /// Why no data follows ([`gap`]); [`gap::NONE`] if data follows.
    pub gap: u32,
    /// The source fd of a copy (`sendfile`, `splice` …); -1 for other calls.
    pub source_fd: i32,
    /// The object that `source_fd` points to.
    pub source: ObjectId,
    /// Name of the thread.
    pub comm: [u8; limits::COMM],
}

/// Why the eBPF program has no data, [`Chunk::gap`].
pub mod gap {
    /// No gap: the data follows.
    pub const NONE: u32 = 0;
    /// The kernel copied the bytes from fd to fd (`sendfile`, `splice`, `tee`, `copy_file_range`).
    pub const COPIED: u32 = 1;
    /// The caller's memory could not be read: paged out, or changed by another thread.
    pub const UNREADABLE: u32 = 2;
    /// An io_uring request whose buffers are no longer known when it completes.
    pub const URING: u32 = 3;
    /// The bytes of a single call beyond the first [`super::CALL`].
    pub const TOO_LARGE: u32 = 4;
}

// Lengths are masked with `CHUNK - 1`.
const _: () = assert!(CHUNK.is_power_of_two());
