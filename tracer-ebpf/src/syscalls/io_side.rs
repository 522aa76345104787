//! Decodes the calls that move bytes: fd, direction and length.

use tracer_common::{
    ledger::{READ, WRITE},
    loss::Reason,
    op,
};

use super::{Call, SyscallContext, doubts, table};
use crate::{
    events::loss as losses,
    kernel::{
        constants::{FILE_INODE, FILE_MODE, FILE_PRIVATE, INODE_SIZE, SOCK_FAMILY, SOCKET_SK},
        fdlookup,
        kread::Kptr,
        usermem,
    },
    ledger::{Transfer, UNKNOWN},
    targets::watches,
};

/// `MSG_PEEK` (`include/linux/socket.h`): reads bytes without removing them.
const MSG_PEEK: u32 = 2;
/// `MSG_TRUNC`: the result is the length of the datagram, also if the buffer is shorter.
pub(crate) const MSG_TRUNC: u32 = 0x20;
/// `MSG_ERRQUEUE`: reads from the error queue of the socket.
const MSG_ERRQUEUE: u32 = 0x2000;
/// Flags with which a result is not the number of bytes that were taken out.
const UNUSUAL: u32 = MSG_PEEK | MSG_TRUNC | MSG_ERRQUEUE;
/// `AF_UNIX`: its sockets have no error queue and ignore the flag.
const AF_UNIX: u16 = 1;
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
    let transfer = Transfer { op: 0, doubt: call.doubt, result: call.result, requested: UNKNOWN };
    let mut side = IoSide { fd: -1, direction: WRITE, transfer, source: -1 };
    if !decode(&call, &mut side) {
        return 0;
    }
    doubts::judge(&call, &mut side);
    let Some(returned) = SyscallContext::current() else { return 0 };
    returned.side = side;
    1
}

/// `FICLONE` and `FICLONERANGE` (`include/uapi/linux/fs.h`).
pub(crate) const FICLONE: u32 = 0x4004_9409;
pub(crate) const FICLONERANGE: u32 = 0x4020_940d;

/// Decodes the current `ioctl`, which makes a file share the bytes of another file (ioctl_ficlonerange(2)). Returns 0
/// if it moved no bytes that count. Exported for the same reason as [`decode_call`].
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn decode_clone() -> u64 {
    let Some(call) = Call::current() else { return 0 };
    let (command, argument) = (call.args.int::<1>(), call.args.get::<2>());
    if call.result != 0 || command != FICLONE && command != FICLONERANGE {
        return 0;
    }
    let fd = call.args.fd::<0>();
    if call.role == 0 && !watches::may_lead_to_watched(call.files, fd) {
        return 0;
    }
    let Some((source, length)) = cloned(&call, command, argument) else {
        losses::count(Reason::UserMemory, 0);
        return 0;
    };
    let result = length as i64;
    let transfer = Transfer { op: op::FICLONE, doubt: call.doubt, result, requested: UNKNOWN };
    let Some(returned) = SyscallContext::current() else { return 0 };
    returned.side = IoSide { fd, direction: WRITE, transfer, source };
    1
}

/// Source fd and length of a clone. A length of 0 stands for all bytes from the offset to the end of the source.
#[inline(always)]
fn cloned(call: &Call, command: u32, argument: u64) -> Option<(i32, u64)> {
    let [source, offset, length] = if command == FICLONE {
        [u64::from(argument as u32), 0, 0]
    } else {
        usermem::read::<[u64; 3]>(argument)?
    };
    let source = source as i32;
    if length != 0 {
        return Some((source, length));
    }
    let inode = fdlookup::file_of(call.files, source)?.follow(&FILE_INODE)?;
    Some((source, inode.member::<u64, _>(&INODE_SIZE)?.saturating_sub(offset)))
}

/// Changes the side of a successful copy to its source, from which the same bytes were read.
#[inline(always)]
pub(super) fn turn_to_source(side: &mut IoSide) {
    side.fd = side.source;
    side.direction = READ;
    side.transfer.requested = UNKNOWN;
    side.source = -1;
}

/// Whether a side is of `read(2)` or its kin.
#[inline(always)]
pub(super) fn is_plain_read(side: &IoSide) -> bool {
    (op::READ..=op::PREADV2).contains(&side.transfer.op)
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
    side.direction = if code >= op::READ && code != op::MQ_SEND { READ } else { WRITE };
    side.transfer.op = code;
    match code {
        op::WRITE | op::PWRITE64 | op::SENDTO => side.transfer.requested = args.get::<2>(),
        op::MQ_SEND => {
            side.transfer.requested = args.get::<2>();
            if call.result == 0 {
                side.transfer.result = args.get::<2>() as i64;
            }
        }
        op::SENDFILE => side.copy(args.fd::<1>(), args.fd::<0>(), args.get::<3>()),
        op::SPLICE | op::COPY_FILE_RANGE => {
            side.copy(args.fd::<0>(), args.fd::<2>(), args.get::<4>());
        }
        // tee leaves the bytes in the first pipe, so it has no reading side.
        op::TEE => side.copy(-1, args.fd::<1>(), args.get::<2>()),
        op::RECVFROM if args.int::<3>() & UNUSUAL != 0 => {
            return receive(call, side, args.int::<3>(), args.get::<2>());
        }
        op::RECVMSG if args.int::<2>() & UNUSUAL != 0 => {
            return receive(call, side, args.int::<2>(), args.get::<1>());
        }
        op::RECVMMSG if args.int::<3>() & UNUSUAL != 0 => {
            return receive(call, side, args.int::<3>(), args.get::<1>());
        }
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
    // The kernel uses 32 bits of the number of segments (`import_iovec`, lib/iov_iter.c).
    let (list, count) = (call.args.get::<1>(), u64::from(call.args.int::<2>()));
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

/// Whether a receive with these flags takes nothing out of the socket.
#[inline(always)]
pub(crate) fn takes_nothing(flags: u32, file: Kptr) -> bool {
    flags & MSG_PEEK != 0 || flags & MSG_ERRQUEUE != 0 && !is_unix(file)
}

/// Whether this is a unix socket; the file is a socket.
#[inline(always)]
fn is_unix(file: Kptr) -> bool {
    sk_of(file).and_then(|sk| sk.member::<u16, _>(&SOCK_FAMILY)) == Some(AF_UNIX)
}

/// The `struct sock` of a file that is a socket.
#[inline(always)]
pub(super) fn sk_of(file: Kptr) -> Option<Kptr> {
    file.follow(&FILE_PRIVATE)?.follow(&SOCKET_SK)
}

/// Completes the side of a receive with unusual flags. `buffers`: the length of the buffer, or the address of the
/// message or of the list of messages. Returns `false` if it took nothing out.
#[inline(never)]
fn receive(call: &Call, side: &mut IoSide, flags: u32, buffers: u64) -> bool {
    if takes_nothing(flags, fdlookup::file_of(call.files, side.fd).unwrap_or(Kptr(0))) {
        return false;
    }
    let (result, compat) = (side.transfer.result, call.args.compat);
    let cuts = flags & MSG_TRUNC != 0;
    side.transfer.result = match side.transfer.op {
        op::RECVMMSG if cuts => messages_in(usermem::mmsg_delivered, buffers, result, compat),
        op::RECVMMSG => messages(buffers, result, compat),
        _ if !cuts || result <= 0 => result,
        op::RECVFROM => at_most(result, Some(buffers)),
        _ => at_most(result, usermem::msghdr_bytes(buffers, compat)),
    };
    true
}

/// The smaller of a positive result and the length of the buffers.
#[inline(always)]
fn at_most(result: i64, length: Option<u64>) -> i64 {
    match length {
        Some(length) if (result as u64) <= length => result,
        Some(length) => length as i64,
        None => {
            losses::count(Reason::UserMemory, 0);
            result
        }
    }
}

/// `sendmmsg` and `recvmmsg` return a number of messages; the bytes are in the caller's list.
#[inline(always)]
fn messages(list: u64, result: i64, compat: bool) -> i64 {
    messages_in(usermem::mmsg_bytes, list, result, compat)
}

/// As [`messages`], with this way to add up the list.
#[inline(always)]
fn messages_in(
    bytes: impl Fn(u64, u64, bool) -> Option<u64>,
    list: u64,
    result: i64,
    compat: bool,
) -> i64 {
    if result <= 0 {
        return result;
    }
    match bytes(list, result as u64, compat) {
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
    let (list, result) = (u64::from(second), call.result);
    side.fd = fd as i32;
    // Numbers: include/uapi/linux/net.h.
    match call.args.get::<0>() {
        9 | 11 => side.wrapped(op::SENDTO, result, u64::from(third)),
        10 | 12 => {
            side.wrapped(op::RECVFROM, result, UNKNOWN);
            receive(call, side, flags, u64::from(third))
        }
        16 => {
            let requested = usermem::msghdr_bytes(list, true).unwrap_or(UNKNOWN);
            side.wrapped(op::SENDMSG, result, requested)
        }
        17 => {
            side.wrapped(op::RECVMSG, result, UNKNOWN);
            receive(call, side, third, list)
        }
        19 => {
            side.wrapped(op::RECVMMSG, result, UNKNOWN);
            receive(call, side, flags, list)
        }
        20 => side.wrapped(op::SENDMMSG, messages(list, result, true), UNKNOWN),
        _ => false,
    }
}
