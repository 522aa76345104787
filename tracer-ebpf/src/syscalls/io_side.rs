//! Decodes the calls that move bytes: fd, direction and length.

use tracer_common::{
    ledger::{READ, WRITE},
    loss::Reason,
    op,
};

use super::{Call, SyscallContext, table};
use crate::{
    constants::FILE_MODE,
    fdlookup,
    ledger::{Transfer, UNKNOWN},
    loss as losses, usermem,
};

/// `MSG_PEEK` (`include/linux/socket.h`): reads bytes without removing them.
const MSG_PEEK: u64 = 2;
/// `FMODE_WRITE` (`include/linux/fs.h`).
const FMODE_WRITE: u32 = 2;

/// One direction of a call on one fd.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct IoSide {
    /// The fd.
    pub(crate) fd: i32,
    /// [`WRITE`] or [`READ`].
    pub(crate) direction: u32,
    /// Operation, result and requested length.
    pub(crate) transfer: Transfer,
    /// The source fd of a copy, or -1.
    pub(crate) source: i32,
}

/// Decodes the side of the current call on its first (or only) fd. Returns 0 if the call moved no bytes that
/// count. Exported, so that the verifier checks it once, and checks the code after it once for all outcomes.
#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn decode_call() -> u64 {
    let Some(call) = Call::current() else { return 0 };
    let transfer =
        Transfer { op: 0, is_unsure: call.is_unsure, result: call.result, requested: UNKNOWN };
    let mut side = IoSide { fd: -1, direction: WRITE, transfer, source: -1 };
    if !decode(&call, &mut side) {
        return 0;
    }
    let Some(returned) = SyscallContext::current() else { return 0 };
    returned.side = side;
    1
}

/// Changes the side of a successful copy to its source, from which the same bytes were read.
#[inline(always)]
pub(super) fn turn_to_source(side: &mut IoSide) {
    side.fd = side.source;
    side.direction = READ;
    side.transfer.requested = UNKNOWN;
    side.source = -1;
}

/// Decodes fd, direction and requested length of a call. Returns `false` if it moved no bytes that count.
/// Works in place: an `Option` of a struct has bytes that the verifier treats as uninitialised.
#[inline(always)]
fn decode(call: &Call, side: &mut IoSide) -> bool {
    if call.class == table::SOCKETCALL {
        return socketcall(call, side);
    }
    let args = call.args;
    let code = call.class - table::IO_BASE;
    side.fd = args.fd::<0>();
    side.direction = if code >= op::READ { READ } else { WRITE };
    side.transfer.op = code;
    match code {
        op::WRITE | op::PWRITE64 | op::SENDTO => side.transfer.requested = args.get::<2>(),
        op::SENDFILE => side.copy(args.fd::<1>(), args.fd::<0>(), args.get::<3>()),
        op::SPLICE | op::COPY_FILE_RANGE => {
            side.copy(args.fd::<0>(), args.fd::<2>(), args.get::<4>());
        }
        // tee leaves the bytes in the first pipe, so it has no reading side.
        op::TEE => side.copy(-1, args.fd::<1>(), args.get::<2>()),
        op::RECVFROM if args.get::<3>() & MSG_PEEK != 0 => return false,
        op::RECVMSG if args.get::<2>() & MSG_PEEK != 0 => return false,
        op::RECVMMSG if args.get::<3>() & MSG_PEEK != 0 => return false,
        op::WRITEV
        | op::PWRITEV
        | op::PWRITEV2
        | op::VMSPLICE
        | op::SENDMSG
        | op::SENDMMSG
        | op::RECVMMSG
            if call.role != 0 || call.result > 0 =>
        {
            complete(call, side);
        }
        _ => {}
    }
    true
}

impl IoSide {
    /// Sets the members for a copy between two fds.
    #[inline(always)]
    fn copy(&mut self, from: i32, to: i32, requested: u64) {
        self.fd = to;
        self.source = from;
        self.transfer.requested = requested;
    }

    /// Sets the members for a transfer inside `socketcall(2)`.
    #[inline(always)]
    fn wrapped(&mut self, code: u32, result: i64, requested: u64) -> bool {
        self.direction = if code >= op::READ { READ } else { WRITE };
        self.transfer = Transfer { op: code, result, requested, ..self.transfer };
        true
    }
}

/// Completes a side whose length or direction is not in the registers: reads user memory or the file mode.
#[inline(never)]
fn complete(call: &Call, side: &mut IoSide) {
    let (list, count) = (call.args.get::<1>(), call.args.get::<2>());
    let compat = call.args.compat;
    match side.transfer.op {
        op::SENDMMSG | op::RECVMMSG => side.transfer.result = messages(list, call.result, compat),
        op::SENDMSG => {
            side.transfer.requested = usermem::msghdr_bytes(list, compat).unwrap_or(UNKNOWN);
        }
        code => {
            if code == op::VMSPLICE && !is_writable(call, side.fd) {
                side.direction = READ;
            }
            if call.role != 0 {
                side.transfer.requested =
                    usermem::iovec_bytes(list, count, compat).unwrap_or(UNKNOWN);
            }
        }
    }
}

/// `sendmmsg` and `recvmmsg` return a number of messages; the bytes are in the caller's list.
#[inline(always)]
fn messages(list: u64, result: i64, compat: bool) -> i64 {
    if result <= 0 {
        return result;
    }
    match usermem::mmsg_bytes(list, result as u64, compat) {
        Some(bytes) => bytes as i64,
        None => {
            losses::count(Reason::UserMemory, 0);
            0
        }
    }
}

/// Whether the fd is open for writing: `vmsplice(2)` writes to a write end and reads from a read end.
#[inline(always)]
fn is_writable(call: &Call, fd: i32) -> bool {
    fdlookup::file_of(call.files, fd)
        .and_then(|file| file.member::<u32, _>(&FILE_MODE))
        .is_some_and(|mode| mode & FMODE_WRITE != 0)
}

/// `socketcall(2)`: the number of the call, then a pointer to its 32-bit arguments.
#[inline(always)]
fn socketcall(call: &Call, side: &mut IoSide) -> bool {
    let list = call.args.get::<1>();
    let Some([fd, second, third, flags]) = usermem::read::<[u32; 4]>(list) else {
        if call.role != 0 {
            losses::count(Reason::UserMemory, 0);
        }
        return false;
    };
    let peeks = |flags: u32| u64::from(flags) & MSG_PEEK != 0;
    let (list, result) = (u64::from(second), call.result);
    side.fd = fd as i32;
    // Numbers: include/uapi/linux/net.h.
    match call.args.get::<0>() {
        9 | 11 => side.wrapped(op::SENDTO, result, u64::from(third)),
        10 | 12 if !peeks(flags) => side.wrapped(op::RECVFROM, result, UNKNOWN),
        16 => {
            let requested = usermem::msghdr_bytes(list, true).unwrap_or(UNKNOWN);
            side.wrapped(op::SENDMSG, result, requested)
        }
        17 if !peeks(third) => side.wrapped(op::RECVMSG, result, UNKNOWN),
        19 if !peeks(flags) => side.wrapped(op::RECVMMSG, messages(list, result, true), UNKNOWN),
        20 => side.wrapped(op::SENDMMSG, messages(list, result, true), UNKNOWN),
        _ => false,
    }
}
