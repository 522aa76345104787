//! Transfers of io_uring requests, independent of the task that completes them.
//!
//! `io_uring_submit_req(struct io_kiocb *req)` (Linux 6.4; `io_uring_submit_sqe(req, bool)` from
//! 5.19) provides process and fd; `io_uring_complete(ctx, req, struct io_uring_cqe *)` (6.15; the
//! result itself before) provides the result. Older kernels do not pass the request. On those the loader
//! does not attach these hooks, and use of io_uring is counted as not covered.

use aya_ebpf::{
    macros::{btf_tracepoint, tracepoint},
    programs::{BtfTracePointContext, TracePointContext},
};
use tracer_common::{
    id::ProcessId,
    ledger::{READ, UringRequest, WRITE},
    loss::Reason,
    op, trace_event,
};

use crate::{
    capture::{self, stored},
    constants::{
        URING_CQE_ARG, URING_CQE_FD, URING_CQE_FLAGS, URING_FILE_OFF, URING_FLAGS, URING_OPCODE,
    },
    fdlookup,
    kread::Kptr,
    ledger::{self, Transfer, UNKNOWN},
    loss as losses,
    maps::{URING, URING_MEMORY, slot},
    membership, object,
    opening::{self, NO_WATCH, Opening},
    syscalls::io,
    task,
};

/// `REQ_F_FIXED_FILE` (`include/linux/io_uring_types.h`): the fd is an index of registered files.
const FIXED_FILE: u32 = 1 << 0;
/// `REQ_F_CQE_SKIP`: success posts no completion.
const CQE_SKIP: u32 = 1 << 6;
/// `IORING_CQE_F_MORE` (`include/uapi/linux/io_uring.h`): the request completes again later.
const CQE_F_MORE: u32 = 1 << 1;
/// Offset of `res` in `struct io_uring_cqe` (uapi, fixed).
const CQE_RES: u64 = 8;

/// 1 once a followed process has submitted a request. From then on, the task that completes a request and the
/// submitter may change the same row at the same time.
#[unsafe(no_mangle)]
static mut URING_USED: u32 = 0;

/// Whether a followed process has used io_uring.
#[inline(always)]
pub(crate) fn is_used() -> bool {
    // SAFETY: an aligned load; once it is 1 it stays 1.
    unsafe { core::ptr::read_volatile(&raw const URING_USED) != 0 }
}

/// A request was submitted, Linux 6.4 and later.
#[btf_tracepoint(function = "io_uring_submit_req")]
pub(crate) fn uring_submit(ctx: BtfTracePointContext) -> i32 {
    let _ = submitted(Kptr(ctx.arg::<u64>(0)));
    0
}

/// Entry point with preemption disabled: the event `io_uring:io_uring_submit_req`.
#[tracepoint]
pub(crate) fn uring_submit_event(ctx: TracePointContext) -> u32 {
    let request: u64 = super::event_field::<_, { trace_event::URING_REQUEST }>(&ctx);
    let _ = submitted(Kptr(request));
    0
}

/// A request completed.
#[btf_tracepoint(function = "io_uring_complete")]
pub(crate) fn uring_complete(ctx: BtfTracePointContext) -> i32 {
    let request = Kptr(ctx.arg::<u64>(1));
    if request.0 == 0 {
        return 0;
    }
    let result = if URING_CQE_ARG.load() == 1 {
        Kptr(ctx.arg::<u64>(2) + CQE_RES).read::<i32>().unwrap_or(0)
    } else {
        ctx.arg::<u64>(3) as i32
    };
    finish(request, result);
    0
}

/// Entry point with preemption disabled: the event `io_uring:io_uring_complete`.
#[tracepoint]
pub(crate) fn uring_complete_event(ctx: TracePointContext) -> u32 {
    let request: u64 = super::event_field::<_, { trace_event::URING_REQUEST }>(&ctx);
    let result: i32 = super::event_field::<_, { trace_event::URING_RESULT }>(&ctx);
    if request != 0 {
        finish(Kptr(request), result);
    }
    0
}

#[inline(always)]
fn finish(request: Kptr, result: i32) {
    if book(request, i64::from(result)) {
        opening::open(slot::URING);
    }
    stored::capture_pending_request(request);
}

/// The direction in which an opcode (`enum io_uring_op`, uapi) transfers bytes; `None` if it transfers none.
#[inline(always)]
fn direction(opcode: u8) -> Option<u32> {
    match opcode {
        // WRITEV WRITE_FIXED SENDMSG WRITE SEND SPLICE TEE SEND_ZC SENDMSG_ZC WRITEV_FIXED
        2 | 5 | 9 | 23 | 26 | 30 | 33 | 47 | 48 | 61 => Some(WRITE),
        // READV READ_FIXED RECVMSG READ RECV READ_MULTISHOT READV_FIXED
        1 | 4 | 10 | 22 | 27 | 49 | 60 => Some(READ),
        _ => None,
    }
}

#[inline(always)]
fn submitted(request: Kptr) -> Option<()> {
    if is_used() {
        // The previous request at this address has ended, even if it posted no completion.
        forget(request.0);
    }
    let opcode: u8 = request.member(&URING_OPCODE)?;
    let direction = direction(opcode)?;
    let tgid = task::current_tgid();
    let (_, process, role) = io::caller(tgid);
    let flags: u32 = request.member(&URING_FLAGS)?;
    let fd: i32 = if flags & FIXED_FILE != 0 { -1 } else { request.member(&URING_CQE_FD)? };
    let process = if role == 0 { new_participant(fd)? } else { process };
    if flags & CQE_SKIP != 0 && direction == WRITE {
        losses::count(Reason::UringSilent, 0);
    }
    // SAFETY: an aligned store; every CPU stores the same value.
    unsafe { core::ptr::write_volatile(&raw mut URING_USED, 1) };
    if URING.insert(request.0, UringRequest { process, fd, role }, 0).is_err() {
        losses::count(Reason::UringFull, 0);
    }
    if capture::is_on() && direction == WRITE {
        stored::store_buffers(request, opcode);
    }
    Some(())
}

/// `IORING_OP_SEND_ZC` and `IORING_OP_SENDMSG_ZC`.
#[inline(always)]
fn is_zero_copy(opcode: u8) -> bool {
    matches!(opcode, 47 | 48)
}

/// Removes the entries of a request. Returns whether its submission was recorded.
#[inline(always)]
pub(crate) fn forget(request: u64) -> bool {
    if capture::is_on() {
        let _ = URING_MEMORY.remove(request);
    }
    URING.remove(request).is_ok()
}

/// The submitter, if it is not followed yet and the fd points to a watched object: it becomes a participant.
#[inline(always)]
fn new_participant(fd: i32) -> Option<ProcessId> {
    let files = task::current_open_files();
    let state = object::file_state(fdlookup::file_of(files, fd)?)?;
    if !membership::is_shared_watch(&state.object) {
        return None;
    }
    let process = task::process_of(task::current())?;
    membership::follow_participant(&process, task::current());
    Some(process)
}

/// Books a completed request. Returns whether its row is pending and must be opened. Not inlined: its stack
/// frame is free again before that.
#[inline(never)]
fn book(request: Kptr, result: i64) -> bool {
    completed(request, result) == Some(true)
}

#[inline(always)]
fn completed(request: Kptr, result: i64) -> Option<bool> {
    let opcode: u8 = request.member(&URING_OPCODE)?;
    let direction = direction(opcode)?;
    // SAFETY: the map is created without preallocation; a request has one owner at a time.
    let (owner, known) = match unsafe { URING.get(request.0) } {
        Some(owner) => (*owner, true),
        None => (unmatched(result)?, false),
    };
    let more = request.member::<u32, _>(&URING_CQE_FLAGS).unwrap_or(0) & CQE_F_MORE != 0;
    // After a zero-copy send, only a notification is left, which is a separate request.
    if known && (!more || is_zero_copy(opcode)) {
        let _ = URING.remove(request.0);
    }
    let file = request.follow(&URING_FILE_OFF)?;
    let mut id = object::id_of(file)?;
    let fd = if owner.fd >= 0 { owner.fd } else { standard_fd_of(file) };
    let of_interest = membership::is_target(owner.role) && io::is_of_interest(fd);
    if !of_interest && !io::counts_by_object(owner.role, &id) {
        return None;
    }
    if id.discriminator == object::UNKNOWN_FILE {
        id.discriminator = object::number_file(file.0) as u32;
    }
    let row = Opening {
        key: ledger::key(owner.process, id, fd, direction),
        file,
        role: owner.role,
        slot: slot::URING,
        hop: if of_interest { 0 } else { NO_WATCH },
    };
    let transfer = Transfer { op: op::IO_URING, is_unsure: 0, result, requested: UNKNOWN };
    capture::set_pending(capture::slot::URING, &row.key, &transfer);
    if !ledger::book(&row.key, &transfer) {
        opening::set_pending(&row, &transfer);
        return Some(true);
    }
    Some(false)
}

/// A request that was submitted before the hooks were attached, and completes in its owner's context.
#[inline(always)]
fn unmatched(result: i64) -> Option<UringRequest> {
    let (_, process, role) = io::caller(task::current_tgid());
    if !membership::is_target(role) {
        return None;
    }
    // A request that was refused in its preparation completes without a submission. It has moved nothing, as any
    // request that failed.
    if result >= 0 {
        losses::count(Reason::UringUnmatched, result as u64);
    }
    Some(UringRequest { process, fd: -1, role })
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
