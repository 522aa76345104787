//! Copies captured data into its ring.
//!
//! The functions that walk lists are exported and take integers only, so that the verifier checks each of them,
//! and its loop, once. A full chunk is read directly into the ring. A partial chunk is built in per-CPU memory
//! first, because a reservation needs a constant length.

use core::mem::{MaybeUninit, size_of};

use aya_ebpf::helpers::generated::{bpf_probe_read_user, bpf_ringbuf_output};
use tracer_common::{
    capture::{CALL, CHUNK, gap},
    limits,
};

use super::{Capturing, Head, at, memory::kind};
use crate::{
    kernel::{atomic::add, constants::CAPTURE_WAKE, kread::bounded, usermem::word},
    ledger,
    maps::CAPTURE_RING,
};

/// The record of a full chunk in the ring.
#[repr(C)]
struct Full {
    head: Head,
    bytes: [MaybeUninit<u8>; CHUNK],
}

/// [`CHUNK`] as `u64`.
const CHUNK_LENGTH: u64 = CHUNK as u64;
/// `BPF_RB_NO_WAKEUP`, `BPF_RB_FORCE_WAKEUP` and `BPF_RB_AVAIL_DATA` (include/uapi/linux/bpf.h).
const NO_WAKEUP: u64 = 1;
const FORCE_WAKEUP: u64 = 2;
const AVAIL_DATA: u64 = 0;

/// Sends the first `length` bytes of the write in a slot, or a gap of that length.
#[inline(always)]
pub(super) fn send_data(this: &mut Capturing, slot: u64, length: u64) {
    let (width, address, count) =
        (u64::from(this.memory.width), this.memory.address, this.memory.count);
    match this.memory.kind {
        kind::BYTES => {
            copy_range(slot, address, length);
        }
        kind::SEGMENTS => {
            copy_segments(slot, address, count, width, length);
        }
        kind::MESSAGE => copy_message(slot, address, width, length),
        kind::MESSAGES => {
            copy_messages(slot, address, count, width, length);
        }
        kind::STORED => {
            super::stored::copy_stored(slot, address, length);
        }
        _ => {}
    }
}

/// Sends the segments of a list of `struct iovec` (`readv(2)`).
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn copy_segments(slot: u64, list: u64, count: u64, width: u64, length: u64) -> u64 {
    let mut left = length;
    for index in 0..limits::IOV {
        if u64::from(index) >= count || left == 0 {
            break;
        }
        left = copy_segment(slot, list + u64::from(index) * 2 * width, width, left);
    }
    // Bytes are left if the list has changed since the kernel read it.
    send_gap_at(slot, left, gap::UNREADABLE)
}

/// Sends one segment, at most `left` bytes. Returns the number of bytes left for the next segments.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn copy_segment(slot: u64, segment: u64, width: u64, left: u64) -> u64 {
    let compat = width == 4;
    let Some(base) = word(segment, compat) else {
        return send_gap_at(slot, left, gap::UNREADABLE);
    };
    let Some(size) = word(segment + width, compat) else {
        return send_gap_at(slot, left, gap::UNREADABLE);
    };
    let part = size.min(left);
    copy_range(slot, base, part);
    left - part
}

/// Sends the messages of a list of `struct mmsghdr` (`sendmmsg(2)`).
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn copy_messages(slot: u64, list: u64, count: u64, width: u64, length: u64) -> u64 {
    let stride = if width == 4 { 32 } else { 64 };
    let mut left = length;
    for index in 0..limits::IOV {
        if u64::from(index) >= count || left == 0 {
            break;
        }
        left = copy_entry(slot, list + u64::from(index) * stride, width, left);
    }
    send_gap_at(slot, left, gap::UNREADABLE)
}

/// Sends one `struct mmsghdr`. Returns as [`copy_segment`].
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn copy_entry(slot: u64, entry: u64, width: u64, left: u64) -> u64 {
    let length_at = if width == 4 { 28 } else { 56 };
    let Some(size) = word(entry + length_at, true) else {
        return send_gap_at(slot, left, gap::UNREADABLE);
    };
    let part = size.min(left);
    copy_message(slot, entry, width, part);
    left - part
}

/// Sends the segments of a `struct msghdr` (`sendmsg(2)`).
#[inline(always)]
fn copy_message(slot: u64, header: u64, width: u64, length: u64) {
    let compat = width == 4;
    // As in `usermem::msghdr_bytes`.
    let (iov, count) = if compat { (8, 12) } else { (16, 24) };
    let Some(list) = word(header + iov, compat) else {
        send_gap_at(slot, length, gap::UNREADABLE);
        return;
    };
    let Some(count) = word(header + count, compat) else {
        send_gap_at(slot, length, gap::UNREADABLE);
        return;
    };
    copy_segments(slot, list, count, width, length);
}

/// Sends contiguous bytes, at most [`CALL`].
#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn copy_range(slot: u64, address: u64, length: u64) -> u64 {
    let mut done = 0;
    for _ in 0..CALL / CHUNK_LENGTH {
        if done >= length {
            break;
        }
        copy_chunk(slot, address + done, length - done);
        done += CHUNK_LENGTH;
    }
    0
}

/// Sends the first chunk of `length` bytes: at most [`CHUNK`] bytes.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn copy_chunk(slot: u64, address: u64, length: u64) -> u64 {
    if let Some(this) = at(slot as u32) {
        if length >= CHUNK_LENGTH {
            send_full_chunk(this, address);
        } else {
            send_partial_chunk(this, address, length as u32);
        }
    }
    0
}

/// Sends a full chunk.
#[inline(always)]
fn send_full_chunk(this: &mut Capturing, address: u64) {
    let Some(mut entry) = CAPTURE_RING.reserve::<Full>(0) else {
        return count_lost(this, CHUNK_LENGTH);
    };
    let record = entry.as_mut_ptr();
    // SAFETY: the reservation is as large as `Full`; the helper checks the source.
    let failed = unsafe {
        bpf_probe_read_user((&raw mut (*record).bytes).cast(), CHUNK as u32, address as *const _)
    };
    if failed != 0 {
        entry.discard(NO_WAKEUP);
        return send_gap(this, CHUNK_LENGTH, gap::UNREADABLE);
    }
    set_payload(this, CHUNK as u32, CHUNK_LENGTH, gap::NONE);
    copy_head(&this.head, record.cast());
    entry.submit(wakeup());
    this.sent += CHUNK_LENGTH;
}

/// Copies word by word, so that the compiler does not emit a call of `memcpy`: its stack frame would be the
/// ninth, and the limit is eight.
#[inline(always)]
fn copy_head(head: &Head, to: *mut u64) {
    let from = (&raw const *head).cast::<u64>();
    for word in 0..size_of::<Head>() / size_of::<u64>() {
        // SAFETY: both sides are as large as `Head`, whose size is a multiple of a word.
        unsafe { to.add(word).write_volatile(from.add(word).read()) };
    }
}

/// Sends a partial chunk: fewer than [`CHUNK`] bytes.
#[inline(always)]
fn send_partial_chunk(this: &mut Capturing, address: u64, length: u32) {
    let length = bounded(length & (CHUNK as u32 - 1));
    // SAFETY: `length` is below the buffer's size; the helper checks the source.
    let failed =
        unsafe { bpf_probe_read_user(this.bytes.as_mut_ptr().cast(), length, address as *const _) };
    if failed != 0 {
        return send_gap(this, u64::from(length), gap::UNREADABLE);
    }
    set_payload(this, length, u64::from(length), gap::NONE);
    if output(this, length) {
        this.sent += u64::from(length);
    } else {
        count_lost(this, u64::from(length));
    }
}

/// Sends a gap: the number of missing bytes and the reason.
#[inline(always)]
pub(super) fn send_gap(this: &mut Capturing, length: u64, reason: u32) {
    set_payload(this, 0, length, reason);
    if !output(this, 0) {
        count_lost(this, length);
    }
}

/// As [`send_gap`], for the list functions: sends nothing if `length` is 0. Returns 0, the number of bytes left.
#[inline(always)]
pub(super) fn send_gap_at(slot: u64, length: u64, reason: u32) -> u64 {
    if length > 0
        && let Some(this) = at(slot as u32)
    {
        send_gap(this, length, reason);
    }
    0
}

#[inline(always)]
fn set_payload(this: &mut Capturing, text_len: u32, length: u64, gap: u32) {
    this.head.header.text_len = text_len;
    this.head.chunk.length = length;
    this.head.chunk.gap = gap;
}

/// Copies the head and `length` bytes of data into the ring. Returns `false` if the ring is full.
#[inline(always)]
fn output(this: &mut Capturing, length: u32) -> bool {
    let length = bounded(length & (CHUNK as u32 - 1));
    // SAFETY: `bytes` directly follows `head`, and `length` is below its size.
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

/// Counts bytes that did not fit into the ring. The next record that fits reports them.
#[inline(always)]
fn count_lost(this: &mut Capturing, length: u64) {
    this.head.chunk.lost += length;
    let key = &this.head.chunk.key;
    if let Some(found) = ledger::find(key) {
        // SAFETY: the row points to a live map value.
        unsafe { add(&raw mut (*found.row).uncaptured, length) };
    }
}

/// Wake-up flags: user space polls the ring at intervals and is woken earlier only if the ring fills up.
#[inline(always)]
fn wakeup() -> u64 {
    let waiting = CAPTURE_RING.query(AVAIL_DATA);
    let wake = CAPTURE_WAKE.load();
    if waiting >= wake && waiting < 2 * wake { FORCE_WAKEUP } else { NO_WAKEUP }
}
