//! Completions that do not name their request. They have its ring and its `user_data`, which several requests can share.
//! If all of these have the same process, fd and direction, it does not matter which one completed.

use tracer_common::{
    ledger::{UringGroup, UringKey, UringRequest},
    loss::Reason,
};

use super::completion::{self, CQE_F_MORE};
use crate::{
    capture::stored,
    events::loss as losses,
    kernel::{
        atomic::{MINUS_ONE, add},
        constants::URING_FILE_OFF,
        fdlookup,
        kread::Kptr,
        task,
    },
    ledger::{self, opening},
    maps::{URING, URING_GROUPS, slot},
    syscalls::io,
    targets::membership::{self, NOEXIST},
};

/// `IORING_CQE_F_BUFFER` (`include/uapi/linux/io_uring.h`): the kernel selected the buffer.
const CQE_F_BUFFER: u32 = 1 << 0;
/// `IORING_CQE_F_NOTIF`: a notification of a zero-copy send, which has no result.
const CQE_F_NOTIF: u32 = 1 << 3;

/// Results of [`book_unnamed`].
const DONE: u64 = 0;
const PENDING: u64 = 1;
const MIXED: u64 = 2;
const UNKNOWN_GROUP: u64 = 3;

/// Adds a stored request to its group. Exported, like the functions below, so that the verifier checks it once.
#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn join(request: u64) -> u64 {
    if let Some(known) = URING.get_ptr(request) {
        // SAFETY: points to a live map value; a request has one owner at a time.
        let known = unsafe { &*known };
        let key = &known.group;
        if !add_to_group(request, known) {
            let group = &UringGroup { request, other: 0, live: 1, mixed: 0, first: *known };
            // If another CPU was first, the request is added to its group.
            if URING_GROUPS.insert(key, group, NOEXIST).is_err() && !add_to_group(request, known) {
                losses::count(Reason::UringFull, 0);
            }
        }
    }
    0
}

/// Returns `false` if there is no group.
#[inline(always)]
fn add_to_group(request: u64, known: &UringRequest) -> bool {
    let key = &known.group;
    let Some(group) = URING_GROUPS.get_ptr_mut(key) else { return false };
    // SAFETY: points to a live map value; the addresses are plain stores, and the last store wins.
    unsafe {
        add(&raw mut (*group).live, 1);
        if !is_same_kind(&(*group).first, known) {
            (*group).mixed = 1;
            (*group).other = request;
        } else if (*group).request == 0 {
            (*group).request = request;
        }
    }
    true
}

#[inline(always)]
fn is_same_kind(one: &UringRequest, other: &UringRequest) -> bool {
    one.process.start_ns == other.process.start_ns
        && one.process.tgid == other.process.tgid
        && one.fd == other.fd
        // The index of a registered file is unknown.
        && one.fd >= 0
        && one.direction == other.direction
        && one.limit == other.limit
        && one.header == other.header
}

/// Removes a request from its group.
#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn leave(request: u64) -> u64 {
    let Some(known) = URING.get_ptr(request) else { return 0 };
    // SAFETY: points to a live map value.
    let key = unsafe { &(*known).group };
    let Some(group) = URING_GROUPS.get_ptr_mut(key) else { return 0 };
    // SAFETY: as in `add_to_group`. If a request joins while the last one leaves, the group is gone, and a completion
    // that does not name it counts as a loss.
    unsafe {
        if (*group).request == request {
            (*group).request = 0;
        }
        if (*group).other == request {
            (*group).other = 0;
        }
        add(&raw mut (*group).live, MINUS_ONE);
        if core::ptr::read_volatile(&raw const (*group).live) == 0 {
            let _ = URING_GROUPS.remove(key);
        }
    }
    0
}

/// Books a completion without a request that found room in the ring. Only the transfers among them select a buffer;
/// the others are polls, accepts, timeouts and messages between rings.
#[inline(always)]
pub(super) fn finish(ring: u64, user_data: u64, result: i32, flags: u32) {
    let wanted = CQE_F_MORE | CQE_F_BUFFER;
    if flags & wanted != wanted || result <= 0 {
        return;
    }
    if book_one(ring, user_data, 1, result) == UNKNOWN_GROUP {
        unmatched(result as u64);
    }
}

/// Books a completion that found no room in the ring, of any request.
#[inline(always)]
pub(super) fn overflow(ring: u64, user_data: u64, result: i32, flags: u32) {
    if flags & CQE_F_NOTIF != 0 || !ledger::has_ring() {
        return;
    }
    // A request that completes once and one that does it several times can have the same data.
    let is_unique = is_group(ring, user_data, 0) + is_group(ring, user_data, 1) < 2;
    if !is_unique {
        losses::count(Reason::UringUnmatched, result.max(0) as u64);
    } else if book_one(ring, user_data, 1, result) == UNKNOWN_GROUP {
        book_one(ring, user_data, 0, result);
    }
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn is_group(ring: u64, user_data: u64, repeats: u64) -> u64 {
    u64::from(URING_GROUPS.get_ptr(UringKey { ring, user_data, repeats }).is_some())
}

/// Books a completion in the row that all requests of the group have in common. Otherwise the rows of all are doubted.
#[inline(always)]
fn book_one(ring: u64, user_data: u64, repeats: u64, result: i32) -> u64 {
    let booked = book_unnamed(ring, user_data, repeats, i64::from(result) as u64);
    if booked == PENDING {
        opening::open(slot::URING);
    }
    if booked == MIXED {
        for member in 0..2 {
            if doubt_member(ring, user_data, repeats, member) == 1 {
                opening::open(slot::URING);
            }
        }
    } else {
        // Where the bytes are is unknown: the capture has a gap.
        stored::capture_pending_request(Kptr(0));
    }
    booked
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn book_unnamed(ring: u64, user_data: u64, repeats: u64, result: u64) -> u64 {
    let Some(group) = URING_GROUPS.get_ptr(UringKey { ring, user_data, repeats }) else {
        return UNKNOWN_GROUP;
    };
    let result = result as i64;
    // SAFETY: points to a live map value.
    let (request, mixed, other, live) =
        unsafe { ((*group).request, (*group).mixed, (*group).other, (*group).live) };
    if mixed == 1 {
        if live > 2 || request == 0 || other == 0 {
            losses::count(Reason::UringUnmatched, result.max(0) as u64);
        } else {
            losses::count(Reason::UringAmbiguous, result.max(0) as u64);
        }
        return MIXED;
    }
    // SAFETY: as above.
    let (side, result) = unsafe {
        let first = &raw const (*group).first;
        (completion::side_of(first), completion::delivered(first, result))
    };
    let file = if request != 0 {
        Kptr(request).follow(&URING_FILE_OFF)
    } else if side.process.tgid == task::current_tgid() {
        fdlookup::file_of(task::current_open_files(), side.fd)
    } else {
        None
    };
    let Some(file) = file else {
        losses::count(Reason::UringUnmatched, result.max(0) as u64);
        return DONE;
    };
    if completion::book(&side, file, result) == Some(true) { PENDING } else { DONE }
}

/// Doubts the row of one request of a mixed group. Returns 1 if the row is pending and must be opened.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn doubt_member(ring: u64, user_data: u64, repeats: u64, member: u64) -> u64 {
    let Some(group) = URING_GROUPS.get_ptr(UringKey { ring, user_data, repeats }) else { return 0 };
    // SAFETY: points to a live map value.
    let request = unsafe { if member == 0 { (*group).request } else { (*group).other } };
    let Some(known) = URING.get_ptr(request) else { return 0 };
    let Some(file) = Kptr(request).follow(&URING_FILE_OFF) else { return 0 };
    // SAFETY: as above.
    let mut side = unsafe { completion::side_of(known) };
    side.doubt = Reason::UringAmbiguous.bit();
    let Some(row) = completion::row_of(&side, file) else { return 0 };
    if ledger::doubt_known(&row.key, row.doubt) {
        return 0;
    }
    opening::set_pending_doubt(&row);
    1
}

/// A transfer of a followed process without a group: it was requested before tracer was attached, or before the
/// process was followed.
#[inline(always)]
fn unmatched(bytes: u64) {
    let tgid = task::current_tgid();
    if membership::may_be_followed(tgid) && io::caller(tgid).2 != 0 {
        losses::count(Reason::UringUnmatched, bytes);
    }
}
