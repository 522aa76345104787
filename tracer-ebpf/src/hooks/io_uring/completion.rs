//! Completions that name their request.

use tracer_common::{
    id::ProcessId,
    ledger::{READ, UringRequest},
    loss::Reason,
    op,
};

use super::request;
use crate::{
    capture::{self, stored},
    events::loss as losses,
    kernel::{
        constants::{
            FD_MASK, URING_CONTEXT, URING_CONTEXT_TASK, URING_CQE_FLAGS, URING_FILE_OFF,
            URING_NODE_FILE, URING_SPLICE_NODE, URING_TASK,
        },
        fdlookup,
        kread::Kptr,
        task,
    },
    ledger::{
        self, Transfer, UNKNOWN,
        opening::{self, NO_WATCH, Opening},
    },
    maps::{URING, slot},
    object,
    syscalls::{doubts, io},
    targets::{membership, watches},
};

/// `IORING_CQE_F_MORE` (`include/uapi/linux/io_uring.h`): the request completes again later.
pub(super) const CQE_F_MORE: u32 = 1 << 1;
/// The flags in the lower bits of `io_rsrc_node.file_ptr` (`FFS_MASK`, io_uring/filetable.h).
const FILE_POINTER_FLAGS: u64 = 7;

/// The process, fd and direction of a transfer.
#[derive(Clone, Copy)]
pub(super) struct Side {
    pub(super) process: ProcessId,
    pub(super) fd: i32,
    pub(super) role: u32,
    pub(super) direction: u32,
    /// Why the counts of its object may be wrong: a bit of [`Reason`], or 0.
    pub(super) doubt: u32,
}

/// Books a completed request.
#[inline(always)]
pub(super) fn finish(request: u64, result: i32) {
    let outcome = i64::from(result) as u64;
    if book_request(request, outcome) == 1 {
        opening::open(slot::URING);
    }
    stored::capture_pending_request(Kptr(request));
    if result > 0 && book_source(request, outcome) == 1 {
        opening::open(slot::URING);
    }
    end(request);
}

/// Removes the request, unless it completes again. After a zero-copy send, only a notification is left, which is a
/// separate request. Exported, like the functions below, so that the verifier checks it once.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn end(request: u64) -> u64 {
    if URING.get_ptr(request).is_none() {
        return 0;
    }
    let at = Kptr(request);
    let more = at.member::<u32, _>(&URING_CQE_FLAGS).unwrap_or(0) & CQE_F_MORE != 0;
    if !more || request::opcode(at).is_some_and(request::is_zero_copy) {
        super::forget(request);
    }
    0
}

/// Books a completed request in the row of its file. Returns 1 if the row is pending and must be opened.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn book_request(request: u64, result: u64) -> u64 {
    u64::from(book_completed(Kptr(request), result as i64) == Some(true))
}

#[inline(always)]
fn book_completed(request: Kptr, result: i64) -> Option<bool> {
    let opcode = request::opcode(request)?;
    let direction = request::direction(opcode)?;
    let known = URING.get_ptr(request.0);
    let repeats = request::repeats(request, opcode);
    if known.is_none() && (result < 0 || result == 0 && !repeats) {
        // Its file may be unset: a request that was refused in its preparation was never submitted.
        return None;
    }
    let file = request.follow(&URING_FILE_OFF)?;
    if request::takes_nothing(request, opcode, file) {
        return None;
    }
    if let Some(known) = known {
        // SAFETY: points to a live map value; a request has one owner at a time.
        let (side, result) = unsafe { (side_of(known), delivered(known, result)) };
        return book(&side, file, result);
    }
    let mut side = unmatched(request, file)?;
    side.direction = direction;
    // Earlier completions of it did not name it.
    side.doubt = if repeats { Reason::UringAmbiguous.bit() } else { 0 };
    book(&side, file, result)
}

/// # Safety
/// `known` must point to a live map value.
#[inline(always)]
pub(super) unsafe fn side_of(known: *const UringRequest) -> Side {
    // SAFETY: the caller's contract.
    unsafe {
        Side {
            process: (*known).process,
            fd: (*known).fd,
            role: (*known).role,
            direction: (*known).direction,
            doubt: 0,
        }
    }
}

/// The bytes that a completion with this result moved.
///
/// # Safety
/// `known` must point to a live map value.
#[inline(always)]
pub(super) unsafe fn delivered(known: *const UringRequest, result: i64) -> i64 {
    // SAFETY: the caller's contract.
    let (header, limit) = unsafe { (i64::from((*known).header), (*known).limit) };
    if result <= 0 {
        return result;
    }
    let bytes = if result >= header { result - header } else { result };
    if bytes as u64 > limit { limit as i64 } else { bytes }
}

/// Books a transfer on an open file. Returns whether its row is pending.
#[inline(always)]
pub(super) fn book(side: &Side, file: Kptr, result: i64) -> Option<bool> {
    let row = row_of(side, file)?;
    let may_have_moved = result == -doubts::EFAULT;
    let doubt = if may_have_moved { Reason::MaybeMoved as u32 } else { 0 };
    let transfer = Transfer { op: op::IO_URING, doubt, result, requested: UNKNOWN };
    capture::set_pending(capture::slot::URING, &row.key, &transfer);
    if !ledger::book(&row.key, &transfer) {
        opening::set_pending(&row, &transfer);
        return Some(true);
    }
    if row.doubt != 0 {
        ledger::doubt_known(&row.key, row.doubt);
    }
    Some(false)
}

/// The row of a transfer; `None` if it does not count.
#[inline(always)]
pub(super) fn row_of(side: &Side, file: Kptr) -> Option<Opening> {
    let mut id = object::id_of(file)?;
    let fd = if side.fd >= 0 { side.fd } else { standard_fd_of(file) };
    let of_interest = membership::is_target(side.role) && watches::is_of_interest(fd);
    if !of_interest && !io::counts_by_object(side.role, &id) {
        return None;
    }
    if id.discriminator == object::UNKNOWN_FILE {
        id.discriminator = object::number_file(file.0) as u32;
    }
    Some(Opening {
        key: ledger::key(side.process, id, fd, side.direction),
        file,
        role: side.role,
        slot: slot::URING,
        hop: if of_interest { 0 } else { NO_WATCH },
        doubt: side.doubt,
    })
}

/// The owner of a request that is not in the table: it was submitted before the hooks were attached, or before its
/// object was watched. `None` if it does not count.
#[inline(always)]
fn unmatched(request: Kptr, file: Kptr) -> Option<Side> {
    let is_watched = watches::may_be_watched(file);
    let task = owner(request);
    let tgid: u32 = task::tgid_of(task)?;
    if !is_watched && !membership::may_be_followed(tgid) {
        return None;
    }
    let process = task::process_of(task)?;
    let (_, _, role) = io::caller(tgid);
    if role == 0 {
        if !watches::is_shared_watch(&object::id_of(file)?) {
            return None;
        }
        membership::follow_participant(&process, task);
    } else if membership::is_target(role) && FD_MASK.load() >> 3 != 0 && !is_watched {
        // Its fd may be one that the user selected, and its object is not watched yet.
        losses::count(Reason::UringUnmatched, 0);
    }
    Some(Side { process, fd: -1, role, direction: READ, doubt: 0 })
}

/// The task that submitted a request: `req->tctx->task` (Linux 6.13; `req->task` before).
#[inline(always)]
fn owner(request: Kptr) -> Kptr {
    let by_context = request::optional::<u64, _>(request, &URING_CONTEXT)
        .and_then(|context| request::optional::<u64, _>(Kptr(context), &URING_CONTEXT_TASK));
    let task = by_context.or_else(|| request::optional::<u64, _>(request, &URING_TASK));
    match task {
        Some(task) if task != 0 => Kptr(task),
        _ => task::current(),
    }
}

/// Books the bytes that a splice took from its source. Returns 1 if the row is pending.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn book_source(request: u64, result: u64) -> u64 {
    u64::from(book_spliced(Kptr(request), result as i64) == Some(true))
}

#[inline(always)]
fn book_spliced(request: Kptr, result: i64) -> Option<bool> {
    let opcode = request::opcode(request)?;
    let fd = request::source_fd(request, opcode)?;
    let tgid = task::current_tgid();
    let (process, role) = match URING.get_ptr(request.0) {
        // SAFETY: points to a live map value.
        Some(known) => unsafe { ((*known).process, (*known).role) },
        None => {
            let (_, process, role) = io::caller(tgid);
            (process, role)
        }
    };
    let file = if fd >= 0 && process.tgid == tgid {
        fdlookup::file_of(task::current_open_files(), fd)
    } else {
        registered_source(request)
    };
    let Some(file) = file else {
        if role != 0 {
            losses::count(Reason::UringUnmatched, result as u64);
        }
        return None;
    };
    book(&Side { process, fd, role, direction: READ, doubt: 0 }, file, result)
}

/// The registered file that a splice reads from (Linux 6.13).
#[inline(always)]
fn registered_source(request: Kptr) -> Option<Kptr> {
    let node: u64 = request::optional(request, &URING_SPLICE_NODE)?;
    let file: u64 = request::optional(Kptr(node).non_null()?, &URING_NODE_FILE)?;
    Kptr(file & !FILE_POINTER_FLAGS).non_null()
}

/// The standard fd that points to the same open file as a registered file, or -1.
#[inline(always)]
fn standard_fd_of(file: Kptr) -> i32 {
    let files = task::current_open_files();
    for fd in [1, 2, 0] {
        if fdlookup::file_of(files, fd).is_some_and(|open| open.0 == file.0) {
            return fd;
        }
    }
    -1
}
