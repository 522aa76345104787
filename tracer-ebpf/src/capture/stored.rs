//! Stores the buffers of io_uring requests.
//!
//! The caller must not change a buffer until its request completes, but may change the list of buffers once the
//! submission has returned (`IORING_FEAT_SUBMIT_STABLE`, io_uring_setup(2)). Therefore the list is stored at the
//! submission.

use tracer_common::{capture::gap, object::ObjectId};

use super::{
    Capturing, at, is_on, is_pending,
    memory::kind,
    send::{copy_range, send_gap_at},
    send_write, slot,
};
use crate::{
    kernel::{
        constants::{
            Constant, URING_MSG_ADDRESS, URING_MSG_LENGTH, URING_RW_ADDRESS, URING_RW_LENGTH,
        },
        kread::Kptr,
        task::{self, CurrentTask},
        usermem::word,
    },
    maps::URING_MEMORY,
};

/// Maximum number of segments stored for one request.
const SEGMENTS: usize = 8;

/// The stored segments of a request.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Stored {
    /// Number of segments of the request; only the first [`SEGMENTS`] are stored.
    count: u64,
    /// Address and length of each segment.
    segments: [[u64; 2]; SEGMENTS],
}

/// No segments. It is in `.rodata`, because the stack is small.
static EMPTY: Stored = Stored { count: 0, segments: [[0; 2]; SEGMENTS] };

#[inline(always)]
fn empty() -> &'static Stored {
    &EMPTY
}

/// Opcodes (`enum io_uring_op`, include/uapi/linux/io_uring.h).
const WRITEV: u8 = 2;
const WRITE_FIXED: u8 = 5;
const SENDMSG: u8 = 9;
const WRITE: u8 = 23;
const SEND: u8 = 26;

/// Stores the buffers of a request that is being submitted; stores nothing if they are unknown.
#[inline(never)]
pub(crate) fn store_buffers(request: Kptr, opcode: u8) {
    let compat = CurrentTask::get().is_compat();
    if compat || URING_MEMORY.insert(request.0, empty(), 0).is_err() {
        return;
    }
    let Some(stored) = URING_MEMORY.get_ptr_mut(request.0) else { return };
    // SAFETY: the map returned a valid, aligned pointer; a request has one owner at a time.
    let stored = unsafe { &mut *stored };
    let found = match opcode {
        WRITE | WRITE_FIXED => store_one(request, stored, &URING_RW_ADDRESS, &URING_RW_LENGTH),
        SEND => store_one(request, stored, &URING_MSG_ADDRESS, &URING_MSG_LENGTH),
        WRITEV => {
            let list = request.member(&URING_RW_ADDRESS);
            list.zip(request.member::<u32, _>(&URING_RW_LENGTH))
                .map(|(list, count)| store_list(stored, list, u64::from(count)))
        }
        SENDMSG => store_message(request, stored),
        _ => None,
    };
    if found.is_none() {
        stored.count = 0;
    }
}

/// Stores the single buffer of a request that contains its address and length.
#[inline(always)]
fn store_one<const A: u32, const B: u32>(
    request: Kptr,
    stored: &mut Stored,
    address: &Constant<A>,
    length: &Constant<B>,
) -> Option<()> {
    let length: u32 = request.member(length)?;
    stored.segments[0] = [request.member(address)?, u64::from(length)];
    stored.count = 1;
    Some(())
}

/// Stores the segments of a `struct msghdr` in the submitter's memory.
#[inline(always)]
fn store_message(request: Kptr, stored: &mut Stored) -> Option<()> {
    let header: u64 = request.member(&URING_MSG_ADDRESS)?;
    let (list, count) = (word(header + 16, false)?, word(header + 24, false)?);
    store_list(stored, list, count);
    Some(())
}

/// Stores the first segments of a list of `struct iovec` in the submitter's memory.
#[inline(always)]
fn store_list(stored: &mut Stored, list: u64, count: u64) {
    stored.count = count;
    for index in 0..SEGMENTS {
        if index as u64 >= count {
            break;
        }
        let segment = list + index as u64 * 16;
        let (Some(base), Some(length)) = (word(segment, false), word(segment + 8, false)) else {
            stored.count = index as u64;
            break;
        };
        stored.segments[index] = [base, length];
    }
}

/// Captures the pending write of a completed request, if there is one, and removes the request.
#[inline(always)]
pub(crate) fn capture_pending_request(request: Kptr) {
    if is_pending(slot::URING) {
        capture_request(request.0);
    }
    if is_on() {
        let _ = URING_MEMORY.remove(request.0);
    }
}

/// Exported, so that the verifier checks it once; therefore it takes an integer.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn capture_request(request: u64) -> u64 {
    if let Some(this) = at(slot::URING) {
        locate(this, request);
        send_write(this, slot::URING);
    }
    0
}

#[inline(always)]
fn locate(this: &mut Capturing, request: u64) {
    this.head.chunk.source_fd = -1;
    this.head.chunk.source = ObjectId::NONE;
    this.memory.address = request;
    // Another process may be current at the completion: the writer's memory is not accessible then.
    let is_writer = task::current_tgid() == this.head.chunk.key.process.tgid;
    this.memory.kind = if is_writer { kind::STORED } else { kind::UNKNOWN };
}

/// Sends the data of a request. Exported, so that the verifier checks its loop once.
#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn copy_stored(slot: u64, request: u64, length: u64) -> u64 {
    let mut left = length;
    if let Some(stored) = URING_MEMORY.get_ptr(request) {
        // SAFETY: as in `store_buffers`.
        let stored = unsafe { &*stored };
        for index in 0..SEGMENTS {
            if index as u64 >= stored.count || left == 0 {
                break;
            }
            let [base, size] = stored.segments[index];
            let part = size.min(left);
            copy_range(slot, base, part);
            left -= part;
        }
    }
    send_gap_at(slot, left, gap::URING)
}
