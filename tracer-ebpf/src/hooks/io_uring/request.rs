//! What a request is about: read when it is submitted.

use tracer_common::{
    id::ProcessId,
    ledger::{READ, UringKey, UringRequest, WRITE},
    loss::Reason,
    offsets::MISSING,
};

use crate::{
    events::loss as losses,
    kernel::{
        constants::{
            Constant, URING_CQE_FD, URING_FLAGS, URING_MSG_ADDRESS, URING_MSG_FLAGS,
            URING_MSG_LENGTH, URING_OPCODE, URING_RECEIVE_FLAGS, URING_RING, URING_SPLICE_FD,
            URING_SPLICE_FLAGS, URING_USER_DATA,
        },
        fdlookup,
        kread::Kptr,
        task, usermem,
    },
    ledger::UNKNOWN,
    maps::URING,
    object,
    syscalls::{io, io_side},
    targets::{membership, watches},
};

/// `REQ_F_FIXED_FILE` (`include/linux/io_uring_types.h`): the fd is an index of registered files.
const FIXED_FILE: u32 = 1 << 0;
/// `REQ_F_BUFFER_SELECT`: the kernel selects a buffer when the request runs.
const BUFFER_SELECT: u32 = 1 << 5;
/// `REQ_F_CQE_SKIP`: success posts no completion.
const CQE_SKIP: u32 = 1 << 6;
/// `IORING_RECV_MULTISHOT` and `IORING_RECVSEND_BUNDLE` (`include/uapi/linux/io_uring.h`).
const REPEATS: u16 = 1 << 1 | 1 << 4;
/// `SPLICE_F_FD_IN_FIXED`: the source fd is an index of registered files.
const SOURCE_IS_FIXED: u32 = 1 << 31;
/// Size of `struct io_uring_recvmsg_out` (uapi, fixed).
const MESSAGE_HEADER: u32 = 16;

/// Opcodes (`enum io_uring_op`, uapi).
const SENDMSG: u8 = 9;
const RECVMSG: u8 = 10;
const SEND: u8 = 26;
const RECV: u8 = 27;
const SPLICE: u8 = 30;
const READ_MULTISHOT: u8 = 49;

/// The opcode of a request.
#[inline(always)]
pub(super) fn opcode(request: Kptr) -> Option<u8> {
    request.member(&URING_OPCODE)
}

/// The direction in which an opcode transfers bytes on its own file; `None` if it transfers none.
#[inline(always)]
pub(super) fn direction(opcode: u8) -> Option<u32> {
    match opcode {
        // WRITEV WRITE_FIXED SENDMSG WRITE SEND SPLICE TEE SEND_ZC SENDMSG_ZC WRITEV_FIXED
        2 | 5 | 9 | 23 | 26 | 30 | 33 | 47 | 48 | 61 => Some(WRITE),
        // READV READ_FIXED RECVMSG READ RECV READ_MULTISHOT READV_FIXED
        1 | 4 | 10 | 22 | 27 | 49 | 60 => Some(READ),
        _ => None,
    }
}

/// `IORING_OP_SEND_ZC` and `IORING_OP_SENDMSG_ZC`.
#[inline(always)]
pub(super) fn is_zero_copy(opcode: u8) -> bool {
    matches!(opcode, 47 | 48)
}

/// A member that older kernels may not have.
#[inline(always)]
pub(super) fn optional<T: Copy, const N: u32>(at: Kptr, offset: &Constant<N>) -> Option<T> {
    if offset.load() == MISSING {
        return None;
    }
    at.member(offset)
}

/// `MSG_*` flags of a receive; 0 for any other request.
#[inline(always)]
fn receive_flags(request: Kptr, opcode: u8) -> u32 {
    match opcode {
        RECV | RECVMSG => optional(request, &URING_MSG_FLAGS).unwrap_or(0),
        _ => 0,
    }
}

/// Whether the request takes nothing out of its file: it looks at the bytes, or reads the socket's error queue.
#[inline(always)]
pub(super) fn takes_nothing(request: Kptr, opcode: u8, file: Kptr) -> bool {
    io_side::takes_nothing(receive_flags(request, opcode), file)
}

/// The fd from which a splice reads; -1 if it is a registered file; `None` for another request.
#[inline(always)]
pub(super) fn source_fd(request: Kptr, opcode: u8) -> Option<i32> {
    if opcode != SPLICE {
        return None;
    }
    let flags: u32 = optional(request, &URING_SPLICE_FLAGS)?;
    if flags & SOURCE_IS_FIXED != 0 {
        return Some(-1);
    }
    optional(request, &URING_SPLICE_FD)
}

/// Whether a request can complete several times.
#[inline(always)]
pub(super) fn repeats(request: Kptr, opcode: u8) -> bool {
    match opcode {
        READ_MULTISHOT => true,
        RECV | RECVMSG | SEND | SENDMSG => {
            optional::<u16, _>(request, &URING_RECEIVE_FLAGS).is_some_and(|set| set & REPEATS != 0)
        }
        _ => false,
    }
}

/// Stores a request that is being submitted. Returns 0 if its submitter does not count. Exported, so that the verifier
/// checks it once.
#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn store(request: u64, opcode: u64, direction: u64) -> u64 {
    u64::from(store_request(Kptr(request), opcode as u8, direction as u32).is_some())
}

#[inline(always)]
fn store_request(request: Kptr, opcode: u8, direction: u32) -> Option<()> {
    let (_, process, role) = io::caller(task::current_tgid());
    let flags: u32 = request.member(&URING_FLAGS)?;
    let fd: i32 = if flags & FIXED_FILE != 0 { -1 } else { request.member(&URING_CQE_FD)? };
    let process = if role == 0 {
        let source = source_fd(request, opcode).unwrap_or(-1);
        new_participant(fd).or_else(|| new_participant(source))?
    } else {
        process
    };
    if flags & CQE_SKIP != 0 && may_count(fd, role, direction) {
        losses::count(Reason::UringSilent, 0);
    }
    let group = UringKey {
        ring: optional(request, &URING_RING)?,
        user_data: optional(request, &URING_USER_DATA)?,
        repeats: u64::from(repeats(request, opcode)),
    };
    let mut stored =
        UringRequest { process, fd, role, group, limit: UNKNOWN, header: 0, direction };
    if receive_flags(request, opcode) & io_side::MSG_TRUNC != 0 && flags & BUFFER_SELECT == 0 {
        stored.limit = buffer_length(request, opcode).unwrap_or(UNKNOWN);
    }
    if opcode == RECVMSG && group.repeats == 1 {
        stored.header = header_length(request).unwrap_or(MESSAGE_HEADER);
    }
    let stored = &stored;
    if URING.insert(request.0, stored, 0).is_err() {
        losses::count(Reason::UringFull, 0);
    }
    Some(())
}

/// Whether transfers of the current process through this fd may count; always true for a registered file.
#[inline(always)]
fn may_count(fd: i32, role: u32, direction: u32) -> bool {
    fd < 0
        || direction == WRITE && membership::is_target(role) && watches::is_of_interest(fd)
        || watches::may_lead_to_watched(task::current_open_files(), fd)
}

/// Length of the buffers of a receive.
#[inline(always)]
fn buffer_length(request: Kptr, opcode: u8) -> Option<u64> {
    if opcode == RECV {
        return optional::<u32, _>(request, &URING_MSG_LENGTH).map(u64::from);
    }
    usermem::msghdr_bytes(optional(request, &URING_MSG_ADDRESS)?, task::is_current_compat())
}

/// Bytes before the data in each buffer of a multishot `RECVMSG`: the header, the address and the control data
/// (`io_recvmsg_multishot`, io_uring/net.c).
#[inline(always)]
fn header_length(request: Kptr) -> Option<u32> {
    let message: u64 = optional(request, &URING_MSG_ADDRESS)?;
    let compat = task::is_current_compat();
    let name: u32 = usermem::read(message + if compat { 4 } else { 8 })?;
    let control = usermem::word(message + if compat { 20 } else { 40 }, compat)?;
    Some(MESSAGE_HEADER.wrapping_add(name).wrapping_add(control as u32))
}

/// The submitter, if it is not followed yet and the fd points to a watched object: it becomes a participant.
#[inline(always)]
fn new_participant(fd: i32) -> Option<ProcessId> {
    let files = task::current_open_files();
    let state = object::file_state(fdlookup::file_of(files, fd)?)?;
    if !watches::is_shared_watch(&state.object) {
        return None;
    }
    let process = task::process_of(task::current())?;
    membership::follow_participant(&process, task::current());
    Some(process)
}
