//! Where the bytes of an io_uring request lie.
//!
//! A buffer must stay as it is until its request completes, but the list of buffers only until the
//! submission returns (`IORING_FEAT_SUBMIT_STABLE`, io_uring_setup(2)): it is noted then.

use tracer_common::{capture::gap, object::ObjectId};

use super::{
    Capturing, at, is_on, is_pending,
    memory::kind,
    place,
    send::{copy_range, missing_at},
    send_write,
};
use crate::{
    constants::{Constant, URING_MSG_ADDRESS, URING_MSG_LENGTH, URING_RW_ADDRESS, URING_RW_LENGTH},
    kread::Kptr,
    maps::URING_MEMORY,
    task::{self, CurrentTask},
    usermem::word,
};

/// Segments that are noted of one request.
const SEGMENTS: usize = 8;

/// The segments of a request.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Stored {
    /// How many it has; what is beyond [`SEGMENTS`] is not noted.
    count: u64,
    /// Address and length of each.
    segments: [[u64; 2]; SEGMENTS],
}

/// Nothing noted yet. In `.rodata`, because the stack is small.
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

/// Notes where a request that is being submitted has its bytes; where that is not known, nothing.
#[inline(never)]
pub(crate) fn note(request: Kptr, opcode: u8) {
    let compat = CurrentTask::get().is_compat();
    if compat || URING_MEMORY.insert(request.0, empty(), 0).is_err() {
        return;
    }
    let Some(stored) = URING_MEMORY.get_ptr_mut(request.0) else { return };
    // SAFETY: the map returned a valid, aligned pointer; a request has one owner at a time.
    let stored = unsafe { &mut *stored };
    let found = match opcode {
        WRITE | WRITE_FIXED => one(request, stored, &URING_RW_ADDRESS, &URING_RW_LENGTH),
        SEND => one(request, stored, &URING_MSG_ADDRESS, &URING_MSG_LENGTH),
        WRITEV => {
            let list = request.member(&URING_RW_ADDRESS);
            list.zip(request.member::<u32, _>(&URING_RW_LENGTH))
                .map(|(list, count)| several(stored, list, u64::from(count)))
        }
        SENDMSG => message(request, stored),
        _ => None,
    };
    if found.is_none() {
        stored.count = 0;
    }
}

/// One buffer, named by the request itself.
#[inline(always)]
fn one<const A: u32, const B: u32>(
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

/// A `struct msghdr` in the submitter's memory.
#[inline(always)]
fn message(request: Kptr, stored: &mut Stored) -> Option<()> {
    let header: u64 = request.member(&URING_MSG_ADDRESS)?;
    let (list, count) = (word(header + 16, false)?, word(header + 24, false)?);
    several(stored, list, count);
    Some(())
}

/// The first segments of a list of `struct iovec` in the submitter's memory.
#[inline(always)]
fn several(stored: &mut Stored, list: u64, count: u64) {
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

/// Captures the write of a request that was noted, if there is one, and forgets the request.
#[inline(always)]
pub(crate) fn of_request(request: Kptr) {
    if is_pending(place::URING) {
        capture_request(request.0);
    }
    if is_on() {
        let _ = URING_MEMORY.remove(request.0);
    }
}

/// Exported, so that the verifier checks it once; therefore it takes a number.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn capture_request(request: u64) -> u64 {
    if let Some(this) = at(place::URING) {
        locate(this, request);
        send_write(this, place::URING);
    }
    0
}

#[inline(always)]
fn locate(this: &mut Capturing, request: u64) {
    this.head.chunk.source_fd = -1;
    this.head.chunk.source = ObjectId::NONE;
    this.memory.address = request;
    // A completion may come while somebody else runs: his memory is not the writer's.
    let is_here = task::current_tgid() == this.head.chunk.key.process.tgid;
    this.memory.kind = if is_here { kind::STORED } else { kind::UNKNOWN };
}

/// The bytes of a request. Exported, so that the verifier checks its loop once.
#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn copy_stored(place: u64, request: u64, length: u64) -> u64 {
    let mut left = length;
    if let Some(stored) = URING_MEMORY.get_ptr(request) {
        // SAFETY: as in `note`.
        let stored = unsafe { &*stored };
        for index in 0..SEGMENTS {
            if index as u64 >= stored.count || left == 0 {
                break;
            }
            let [base, size] = stored.segments[index];
            let part = size.min(left);
            copy_range(place, base, part);
            left -= part;
        }
    }
    missing_at(place, left, gap::URING)
}
