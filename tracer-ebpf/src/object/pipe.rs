//! The state of a pipe, read from kernel memory without an fd of the pipe.

use tracer_common::{
    limits,
    object::{QueueState, mode},
};

use super::Inode;
use crate::kernel::{
    constants::{
        INODE_INO, INODE_PIPE, PIPE_BUFFER_LEN, PIPE_BUFFER_SIZE, PIPE_BUFS, PIPE_HEAD,
        PIPE_READERS, PIPE_SLOTS, PIPE_TAIL, PIPE_WRITERS,
    },
    kread::Kptr,
};

/// The state of the pipe or FIFO behind an inode; `valid` is 0 for anything else.
///
/// Read without the pipe's mutex: exact unless a process transfers bytes at the same time. The session model
/// checks it against the ledger.
#[inline(always)]
pub(crate) fn pipe_state(inode: &Inode) -> QueueState {
    if inode.mode & mode::S_IFMT != mode::S_IFIFO {
        return QueueState::default();
    }
    read(inode).unwrap_or_default()
}

/// The state of the pipe at a stored inode address, if the inode still has number `ino`; otherwise `valid` is 0.
/// The memory may be freed and reused at any time, so the number is checked before and after the read.
#[inline(always)]
pub(crate) fn pipe_at(address: Kptr, ino: u64) -> QueueState {
    let is_same_inode = || address.member::<u64, _>(&INODE_INO).is_some_and(|found| found == ino);
    if !is_same_inode() {
        return QueueState::default();
    }
    let inode = Inode { address, mode: mode::S_IFIFO, rdev: 0, ino, sb: Kptr(0) };
    let state = pipe_state(&inode);
    if is_same_inode() { state } else { QueueState::default() }
}

#[inline(always)]
fn read(inode: &Inode) -> Option<QueueState> {
    let pipe = inode.address.follow(&INODE_PIPE)?;
    let head: u32 = pipe.member(&PIPE_HEAD)?;
    let tail: u32 = pipe.member(&PIPE_TAIL)?;
    let slots: u32 = pipe.member(&PIPE_SLOTS)?;
    let buffers = pipe.follow(&PIPE_BUFS)?;
    Some(QueueState {
        unread: unread(buffers, slots, tail, head)?,
        slots,
        readers: pipe.member(&PIPE_READERS)?,
        writers: pipe.member(&PIPE_WRITERS)?,
        valid: 1,
    })
}

/// Number of slots that one call of [`unread_of_batch`] reads.
const BATCH: u32 = 16;
/// Its result if a slot could not be read.
const UNREADABLE: u64 = u64::MAX;

/// Bytes in all filled slots; `None` if more than [`limits::PIPE_SLOTS`] are filled.
#[inline(always)]
fn unread(buffers: Kptr, slots: u32, tail: u32, head: u32) -> Option<u64> {
    let mut unread = 0;
    let mut slot = tail;
    for _ in 0..limits::PIPE_SLOTS / BATCH {
        if slot == head {
            break;
        }
        let part = unread_of_batch(buffers.0, u64::from(slots), u64::from(slot), u64::from(head));
        if part == UNREADABLE {
            return None;
        }
        unread += part;
        let left = head.wrapping_sub(slot);
        slot = slot.wrapping_add(if left < BATCH { left } else { BATCH });
    }
    (slot == head).then_some(unread)
}

/// Bytes in the filled slots from `slot` on, at most [`BATCH`] slots. Exported, so that the verifier checks
/// the few iterations of two nested loops, not all iterations of one.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn unread_of_batch(buffers: u64, slots: u64, slot: u64, head: u64) -> u64 {
    let mut sum = 0;
    let mut slot = slot as u32;
    for _ in 0..BATCH {
        if slot == head as u32 {
            break;
        }
        // `ring_size` is a power of two (`pipe_resize_ring`, fs/pipe.c).
        let index = slot & (slots as u32).wrapping_sub(1);
        let buffer = Kptr(buffers + u64::from(index) * PIPE_BUFFER_SIZE.load());
        let Some(length) = buffer.member::<u32, _>(&PIPE_BUFFER_LEN) else { return UNREADABLE };
        sum += u64::from(length);
        slot = slot.wrapping_add(1);
    }
    sum
}

const _: () = assert!(limits::PIPE_SLOTS.is_multiple_of(BATCH));
