//! Reads of the memory of the current process: segment lists, message lengths, addresses.

use aya_ebpf::helpers::{
    bpf_probe_read_user,
    generated::{bpf_probe_read_user as read_raw, bpf_probe_read_user_str},
};
use tracer_common::limits;

use crate::kernel::kread::bounded;

/// Reads a `T` from the current process.
#[inline(always)]
pub(crate) fn read<T: Copy>(address: u64) -> Option<T> {
    // SAFETY: the helper checks the address; `T` is integers only.
    unsafe { bpf_probe_read_user(address as *const T) }.ok()
}

/// A pointer-sized value of the current process: 4 bytes for a 32-bit caller.
#[inline(always)]
pub(crate) fn word(address: u64, compat: bool) -> Option<u64> {
    if compat { read::<u32>(address).map(u64::from) } else { read(address) }
}

/// Copies `length` bytes, fewer than `buffer.len()`, from the current process.
#[inline(always)]
pub(crate) fn copy(address: u64, length: u32, buffer: &mut [u8; limits::FACT]) -> bool {
    let length = bounded(length & (limits::FACT as u32 - 1));
    // SAFETY: `length` is below the buffer's size; the helper checks the source.
    unsafe { read_raw(buffer.as_mut_ptr().cast(), length, address as *const _) == 0 }
}

/// Result of the sums if a length could not be read.
const UNREADABLE: u64 = u64::MAX;
/// Maximum number of lengths that one call of [`sum_batch`] adds up.
const BATCH: u32 = 32;

/// Adds up `count` lengths: the first is at `first`, and they are `stride` bytes apart. `width` is 4 or 8.
///
/// Exported, like [`sum_batch`], so that the verifier checks the few iterations of two nested loops, not all
/// iterations of one. Therefore both take integers only.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn sum_lengths(first: u64, count: u64, stride: u64, width: u64) -> u64 {
    let mut total = 0u64;
    for batch in 0..limits::IOV / BATCH {
        let done = u64::from(batch * BATCH);
        if done >= count {
            break;
        }
        let part = sum_batch(first + done * stride, count - done, stride, width);
        if part == UNREADABLE {
            return UNREADABLE;
        }
        total = total.wrapping_add(part);
    }
    total
}

/// Adds up the first [`BATCH`] of the lengths.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn sum_batch(first: u64, count: u64, stride: u64, width: u64) -> u64 {
    let mut total = 0u64;
    for index in 0..BATCH {
        if u64::from(index) >= count {
            break;
        }
        let Some(length) = word(first + u64::from(index) * stride, width == 4) else {
            return UNREADABLE;
        };
        total = total.wrapping_add(length);
    }
    total
}

const _: () = assert!(limits::IOV.is_multiple_of(BATCH));

#[inline(always)]
fn sum(first: u64, count: u64, stride: u64, width: u64) -> Option<u64> {
    match sum_lengths(first, count, stride, width) {
        UNREADABLE => None,
        total => Some(total),
    }
}

/// Sum of `iov_len` over a segment list (`readv(2)`); `None` if it cannot be read.
#[inline(always)]
pub(crate) fn iovec_bytes(list: u64, count: u64, compat: bool) -> Option<u64> {
    let width = if compat { 4 } else { 8 };
    sum(list + width, count, 2 * width, width)
}

/// Sum of the segments of a `struct msghdr` (`sendmsg(2)`).
#[inline(always)]
pub(crate) fn msghdr_bytes(header: u64, compat: bool) -> Option<u64> {
    // msg_name, msg_namelen (padded on 64 bits), msg_iov, msg_iovlen.
    let (iov, count) = if compat { (8, 12) } else { (16, 24) };
    iovec_bytes(word(header + iov, compat)?, word(header + count, compat)?, compat)
}

/// Sum of `msg_len` over the first `sent` entries of a `struct mmsghdr` list (`sendmmsg(2)`).
#[inline(always)]
pub(crate) fn mmsg_bytes(list: u64, sent: u64, compat: bool) -> Option<u64> {
    let (stride, length_at) = if compat { (32, 28) } else { (64, 56) };
    sum(list + length_at, sent, stride, 4)
}

/// As [`mmsg_bytes`], but of each message at most the length of its buffers.
#[inline(always)]
pub(crate) fn mmsg_delivered(list: u64, received: u64, compat: bool) -> Option<u64> {
    match sum_delivered(list, received, u64::from(compat)) {
        UNREADABLE => None,
        total => Some(total),
    }
}

/// Maximum number of messages of which the delivered bytes can be added up.
const MESSAGES: u32 = 64;

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn sum_delivered(list: u64, count: u64, compat: u64) -> u64 {
    let compat = compat == 1;
    let (stride, length_at) = if compat { (32, 28) } else { (64, 56) };
    let mut total = 0u64;
    for index in 0..MESSAGES {
        if u64::from(index) >= count {
            return total;
        }
        let message = list + u64::from(index) * stride;
        let (Some(length), Some(room)) =
            (read::<u32>(message + length_at), msghdr_bytes(message, compat))
        else {
            return UNREADABLE;
        };
        total = total.wrapping_add(u64::from(length).min(room));
    }
    UNREADABLE
}

/// Copies a NUL-terminated string of the current process; returns its length without the NUL.
#[inline(always)]
pub(crate) fn string(address: u64, buffer: &mut [u8; limits::FACT]) -> u32 {
    // SAFETY: the helper writes at most FACT bytes and checks the source.
    let length = unsafe {
        bpf_probe_read_user_str(
            buffer.as_mut_ptr().cast(),
            limits::FACT as u32,
            address as *const _,
        )
    };
    if length > 0 && length <= limits::FACT as i64 { (length - 1) as u32 } else { 0 }
}
