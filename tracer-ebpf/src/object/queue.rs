//! Bytes that wait in pipes, sockets and terminals for a reader, read from kernel memory without an fd.
//!
//! Read without locks: exact unless bytes move at the same time. The session model checks that against the ledger.

use tracer_common::{
    event, limits,
    object::{QueueState, mode},
};

use super::{Inode, pipe_state, socket, tty};
use crate::kernel::{
    constants::{FILE_PRIVATE, INODE_INO, INODE_MODE, SKB_CB, SKB_LEN, SKB_NEXT, UNIX_CONSUMED},
    kread::Kptr,
};

/// The direction of a queue, as an argument of [`queued`].
const WRITTEN: u64 = 0;
const INCOMING: u64 = 1;
/// Result of functions that count bytes, if a part could not be read.
pub(super) const UNREADABLE: u64 = u64::MAX;

/// Bytes that were written to an open file and are unread.
#[inline(always)]
pub(crate) fn written(file: Kptr, inode: &Inode) -> QueueState {
    if inode.mode & mode::S_IFMT == mode::S_IFIFO {
        return pipe_state(inode);
    }
    state((inode.mode, inode.rdev), file, WRITTEN)
}

/// Bytes that wait in the receive queue of an open socket or terminal.
#[inline(always)]
pub(crate) fn incoming(file: Kptr, inode: &Inode) -> QueueState {
    state((inode.mode, inode.rdev), file, INCOMING)
}

/// Adds the queues of a socket or terminal to its description. Apart from [`super::describe_object`], whose stack
/// frame is free again.
#[inline(always)]
pub(crate) fn describe_queues(file: Kptr, out: &mut event::Object) {
    if out.mode & mode::S_IFMT != mode::S_IFIFO {
        out.queue = state((out.mode, out.rdev), file, WRITTEN);
        out.incoming = state((out.mode, out.rdev), file, INCOMING);
    }
}

#[inline(always)]
fn state((mode, rdev): (u32, u32), file: Kptr, direction: u64) -> QueueState {
    let kind = mode & mode::S_IFMT;
    let is_tty = kind == mode::S_IFCHR && tty::is_tty(rdev);
    if kind != mode::S_IFSOCK && !is_tty {
        return QueueState::default();
    }
    // A probed read: exported functions cannot take a typed pointer, as an iterator has it.
    let Some(private) = file.follow(&FILE_PRIVATE) else { return QueueState::default() };
    match queued(private.0, u64::from(is_tty), direction) {
        UNREADABLE => QueueState::default(),
        bytes => QueueState::holding(bytes),
    }
}

/// The receive queue of the socket at a stored inode address, if the inode still has number `ino`. The memory may be
/// freed and reused at any time, so the number is checked before and after the read.
#[inline(always)]
pub(crate) fn incoming_at(inode: Kptr, ino: u64) -> QueueState {
    match socket_bytes_at(inode.0, ino) {
        UNREADABLE => QueueState::default(),
        bytes => QueueState::holding(bytes),
    }
}

/// Bytes of [`incoming_at`]. Exported, as the functions below, so that the verifier checks its loop once. Therefore
/// it takes integers only.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn socket_bytes_at(inode: u64, ino: u64) -> u64 {
    let inode = Kptr(inode);
    let is_same_inode = || inode.member::<u64, _>(&INODE_INO).is_some_and(|found| found == ino);
    let kind = inode.member::<u16, _>(&INODE_MODE).unwrap_or(0);
    if u32::from(kind) & mode::S_IFMT != mode::S_IFSOCK || !is_same_inode() {
        return UNREADABLE;
    }
    let bytes = socket::incoming(socket::of_inode(inode)).unwrap_or(UNREADABLE);
    if is_same_inode() { bytes } else { UNREADABLE }
}

/// Bytes in one queue of an open socket or terminal, by the `private_data` of its file.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn queued(private: u64, is_tty: u64, direction: u64) -> u64 {
    let (private, is_incoming) = (Kptr(private), direction == INCOMING);
    let bytes = if is_tty == 1 {
        tty::unread(private, is_incoming)
    } else if is_incoming {
        socket::incoming(private)
    } else {
        socket::written(private)
    };
    bytes.unwrap_or(UNREADABLE)
}

/// Number of buffers that one call of [`skb_bytes`] reads.
const BATCH: u32 = 32;

/// Bytes in a list of socket buffers (`struct sk_buff_head`); `None` if it has more than [`limits::SKBS`]. Of the
/// first buffers of a stream socket, readers may have consumed a part.
#[inline(always)]
pub(super) fn skbs(list: Kptr, is_stream: bool) -> Option<u64> {
    let mut sum = 0;
    // Both structs begin with `next` ("These two members must be first to match sk_buff_head").
    let mut skb: u64 = list.at(&SKB_NEXT).read()?;
    for _ in 0..limits::SKBS / BATCH {
        if skb == list.0 {
            break;
        }
        let part = skb_bytes(skb, list.0, u64::from(is_stream));
        if part == UNREADABLE {
            return None;
        }
        sum += part;
        skb = skb_after(skb, list.0);
    }
    (skb == list.0).then_some(sum)
}

/// Bytes in at most [`BATCH`] socket buffers of a list.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn skb_bytes(skb: u64, list: u64, is_stream: u64) -> u64 {
    let mut sum = 0;
    let mut skb = Kptr(skb);
    for _ in 0..BATCH {
        if skb.0 == list {
            break;
        }
        let Some(length) = skb.member::<u32, _>(&SKB_LEN) else { return UNREADABLE };
        let consumed = if is_stream == 1 {
            // `UNIXCB(skb).consumed` (include/net/af_unix.h).
            let Some(consumed) = skb.at(&SKB_CB).member::<u32, _>(&UNIX_CONSUMED) else {
                return UNREADABLE;
            };
            consumed
        } else {
            0
        };
        sum += u64::from(length.wrapping_sub(consumed));
        // NULL if the buffer was taken from the list meanwhile.
        let Some(next) = skb.follow(&SKB_NEXT) else { return UNREADABLE };
        skb = next;
    }
    sum
}

/// The socket buffer after those that [`skb_bytes`] has read; 0 if it could not be found.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn skb_after(skb: u64, list: u64) -> u64 {
    let mut skb = Kptr(skb);
    for _ in 0..BATCH {
        if skb.0 == list {
            break;
        }
        let Some(next) = skb.follow(&SKB_NEXT) else { return 0 };
        skb = next;
    }
    skb.0
}

const _: () = assert!(limits::SKBS.is_multiple_of(BATCH));
