//! Puts captured bytes into their ring.
//!
//! The walks are exported functions that take numbers only: the verifier checks each of them, and its
//! loop, once. A full piece is read straight into the ring; one that is not full is put together beside
//! it, because a reservation needs a length that the verifier knows.

use core::mem::{MaybeUninit, size_of};

use aya_ebpf::helpers::generated::{bpf_probe_read_user, bpf_ringbuf_output};
use tracer_common::{
    capture::{CALL, CHUNK, gap},
    limits,
};

use super::{Capturing, Head, at, memory::kind};
use crate::{
    atomic::add, constants::CAPTURE_WAKE, kread::bounded, ledger, maps::CAPTURE_RING, usermem::word,
};

/// A full piece, as it lies in the ring.
#[repr(C)]
struct Full {
    head: Head,
    bytes: [MaybeUninit<u8>; CHUNK],
}

/// [`CHUNK`] as a length.
const PIECE: u64 = CHUNK as u64;
/// `BPF_RB_NO_WAKEUP`, `BPF_RB_FORCE_WAKEUP` and `BPF_RB_AVAIL_DATA` (include/uapi/linux/bpf.h).
const NO_WAKEUP: u64 = 1;
const FORCE_WAKEUP: u64 = 2;
const AVAIL_DATA: u64 = 0;

/// Sends `length` bytes of the write in a slot, or says that they are missing.
#[inline(always)]
pub(super) fn everything(this: &mut Capturing, place: u64, length: u64) {
    let (width, address, count) =
        (u64::from(this.memory.width), this.memory.address, this.memory.count);
    match this.memory.kind {
        kind::BYTES => {
            copy_range(place, address, length);
        }
        kind::SEGMENTS => {
            copy_segments(place, address, count, width, length);
        }
        kind::MESSAGE => copy_message(place, address, width, length),
        kind::MESSAGES => {
            copy_messages(place, address, count, width, length);
        }
        kind::STORED => {
            super::stored::copy_stored(place, address, length);
        }
        _ => {}
    }
}

/// The segments of a list of `struct iovec` (`readv(2)`).
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn copy_segments(place: u64, list: u64, count: u64, width: u64, length: u64) -> u64 {
    let mut left = length;
    for index in 0..limits::IOV {
        if u64::from(index) >= count || left == 0 {
            break;
        }
        left = copy_segment(place, list + u64::from(index) * 2 * width, width, left);
    }
    // The list changed since the kernel walked it.
    missing_at(place, left, gap::UNREADABLE)
}

/// One segment, `left` bytes of it at most; returns how many are left for those behind it.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn copy_segment(place: u64, segment: u64, width: u64, left: u64) -> u64 {
    let compat = width == 4;
    let Some(base) = word(segment, compat) else {
        return missing_at(place, left, gap::UNREADABLE);
    };
    let Some(size) = word(segment + width, compat) else {
        return missing_at(place, left, gap::UNREADABLE);
    };
    let part = size.min(left);
    copy_range(place, base, part);
    left - part
}

/// A list of `struct mmsghdr` (`sendmmsg(2)`).
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn copy_messages(place: u64, list: u64, count: u64, width: u64, length: u64) -> u64 {
    let stride = if width == 4 { 32 } else { 64 };
    let mut left = length;
    for index in 0..limits::IOV {
        if u64::from(index) >= count || left == 0 {
            break;
        }
        left = copy_entry(place, list + u64::from(index) * stride, width, left);
    }
    missing_at(place, left, gap::UNREADABLE)
}

/// One `struct mmsghdr`; returns as [`copy_segment`].
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn copy_entry(place: u64, entry: u64, width: u64, left: u64) -> u64 {
    let length_at = if width == 4 { 28 } else { 56 };
    let Some(size) = word(entry + length_at, true) else {
        return missing_at(place, left, gap::UNREADABLE);
    };
    let part = size.min(left);
    copy_message(place, entry, width, part);
    left - part
}

/// A `struct msghdr` (`sendmsg(2)`).
#[inline(always)]
fn copy_message(place: u64, header: u64, width: u64, length: u64) {
    let compat = width == 4;
    // As in `usermem::msghdr_bytes`.
    let (iov, count) = if compat { (8, 12) } else { (16, 24) };
    let Some(list) = word(header + iov, compat) else {
        missing_at(place, length, gap::UNREADABLE);
        return;
    };
    let Some(count) = word(header + count, compat) else {
        missing_at(place, length, gap::UNREADABLE);
        return;
    };
    copy_segments(place, list, count, width, length);
}

/// Bytes that lie behind each other, [`CALL`] of them at most.
#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn copy_range(place: u64, address: u64, length: u64) -> u64 {
    let mut done = 0;
    for _ in 0..CALL / PIECE {
        if done >= length {
            break;
        }
        copy_piece(place, address + done, length - done);
        done += PIECE;
    }
    0
}

/// The first [`CHUNK`] of `length` bytes.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn copy_piece(place: u64, address: u64, length: u64) -> u64 {
    if let Some(this) = at(place as u32) {
        if length >= PIECE {
            full(this, address);
        } else {
            rest(this, address, length as u32);
        }
    }
    0
}

/// A full piece.
#[inline(always)]
fn full(this: &mut Capturing, address: u64) {
    let Some(mut entry) = CAPTURE_RING.reserve::<Full>(0) else {
        return no_room(this, PIECE);
    };
    let record = entry.as_mut_ptr();
    // SAFETY: the reservation is as large as `Full`; the helper checks the source.
    let failed = unsafe {
        bpf_probe_read_user((&raw mut (*record).bytes).cast(), CHUNK as u32, address as *const _)
    };
    if failed != 0 {
        entry.discard(NO_WAKEUP);
        return missing(this, PIECE, gap::UNREADABLE);
    }
    fill(this, CHUNK as u32, PIECE, gap::NONE);
    copy_head(&this.head, record.cast());
    entry.submit(wakeup());
    this.sent += PIECE;
}

/// Word by word, and so that no call of `memcpy` comes of it: it would be a ninth frame.
#[inline(always)]
fn copy_head(head: &Head, to: *mut u64) {
    let from = (&raw const *head).cast::<u64>();
    for word in 0..size_of::<Head>() / size_of::<u64>() {
        // SAFETY: both sides are as large as `Head`, which is made of whole words.
        unsafe { to.add(word).write_volatile(from.add(word).read()) };
    }
}

/// A piece of fewer than [`CHUNK`] bytes.
#[inline(always)]
fn rest(this: &mut Capturing, address: u64, length: u32) {
    let length = bounded(length & (CHUNK as u32 - 1));
    // SAFETY: `length` is below the buffer's size; the helper checks the source.
    let failed =
        unsafe { bpf_probe_read_user(this.bytes.as_mut_ptr().cast(), length, address as *const _) };
    if failed != 0 {
        return missing(this, u64::from(length), gap::UNREADABLE);
    }
    fill(this, length, u64::from(length), gap::NONE);
    if output(this, length) {
        this.sent += u64::from(length);
    } else {
        no_room(this, u64::from(length));
    }
}

/// Says that bytes are missing, and why.
#[inline(always)]
pub(super) fn missing(this: &mut Capturing, length: u64, reason: u32) {
    fill(this, 0, length, reason);
    if !output(this, 0) {
        no_room(this, length);
    }
}

/// As [`missing`], for the walks: nothing to say for no bytes. Nothing is left after it.
#[inline(always)]
pub(super) fn missing_at(place: u64, length: u64, reason: u32) -> u64 {
    if length > 0
        && let Some(this) = at(place as u32)
    {
        missing(this, length, reason);
    }
    0
}

#[inline(always)]
fn fill(this: &mut Capturing, text_len: u32, length: u64, gap: u32) {
    this.head.header.text_len = text_len;
    this.head.chunk.length = length;
    this.head.chunk.gap = gap;
}

/// Copies head and bytes into the ring; `false` when it has no room.
#[inline(always)]
fn output(this: &mut Capturing, length: u32) -> bool {
    let length = bounded(length & (CHUNK as u32 - 1));
    // SAFETY: `bytes` lies directly behind `head`, and `length` is below its size.
    let failed = unsafe {
        bpf_ringbuf_output(
            (&raw const CAPTURE_RING).cast_mut().cast(),
            (&raw mut this.head).cast(),
            size_of::<Head>() as u64 + u64::from(length),
            wakeup(),
        )
    };
    failed == 0
}

/// What found no room is told by the next record that does.
#[inline(always)]
fn no_room(this: &mut Capturing, length: u64) {
    this.head.chunk.lost += length;
    let key = &this.head.chunk.key;
    if let Some(found) = ledger::find(key) {
        // SAFETY: the row points to a live map value.
        unsafe { add(&raw mut (*found.row).uncaptured, length) };
    }
}

/// User space looks at the ring from time to time; it is woken when the ring fills faster than that.
#[inline(always)]
fn wakeup() -> u64 {
    let waiting = CAPTURE_RING.query(AVAIL_DATA);
    let wake = CAPTURE_WAKE.load();
    if waiting >= wake && waiting < 2 * wake { FORCE_WAKEUP } else { NO_WAKEUP }
}
