//! Transfers between memory and one fd.

use core::ptr::NonNull;

use tracer_common::{
    id::ProcessId,
    ledger::{READ, WRITE},
    loss,
    object::ObjectId,
    op,
    process::{ProcessEntry, ROLE_PARTICIPANT},
};

use super::{Call, Returned, table};
use crate::{
    atomic::add,
    capture, fdlookup,
    constants::{ALL_FDS, FD_MASK, FILE_MODE},
    kread::Kptr,
    ledger::{self, Transfer, UNKNOWN},
    loss as losses,
    maps::slot,
    membership, object,
    opening::{self, NOT_OURS, Opening},
    task, usermem,
};

/// `MSG_PEEK` (`include/linux/socket.h`): looks at bytes without taking them.
const MSG_PEEK: u64 = 2;
/// `FMODE_WRITE` (`include/linux/fs.h`).
const FMODE_WRITE: u32 = 2;

/// One direction of a call on one fd.
#[derive(Clone, Copy)]
pub(crate) struct Leg {
    /// Through which fd.
    pub(crate) fd: i32,
    /// [`WRITE`] or [`READ`].
    pub(crate) direction: u32,
    /// What happened.
    pub(crate) transfer: Transfer,
    /// The fd at the other end of a copy, or -1.
    pub(crate) source: i32,
}

/// Books a call that moves bytes.
#[inline(always)]
pub(crate) fn transfer(returned: &Returned) {
    if !membership::may_be_followed(returned.tgid) && !may_be_watched(returned) {
        return;
    }
    let call = &Call::of(returned);
    let outcome = book_first(call);
    open_if(outcome & OPENS != 0);
    capture::memory::of_call(call);
    let source = outcome as u32 as i32;
    if source >= 0 && call.result > 0 {
        open_if(book_source(call, source));
    }
}

/// Whether a stranger's call may concern an object under watch: `false` is certain.
#[inline(never)]
fn may_be_watched(returned: &Returned) -> bool {
    let args = returned.args;
    let leads_to_watched = |fd| {
        fdlookup::file_of(returned.files, fd)
            .and_then(object::number_of)
            .is_some_and(membership::may_be_watched)
    };
    let other = match returned.class.wrapping_sub(table::IO_BASE) {
        op::SENDFILE | op::TEE => args.fd::<1>(),
        op::SPLICE | op::COPY_FILE_RANGE => args.fd::<2>(),
        // Its fd is in memory.
        _ if returned.class == table::SOCKETCALL => return true,
        _ => -1,
    };
    leads_to_watched(args.fd::<0>()) || leads_to_watched(other)
}

/// In what [`book_first`] returns: a row waits to be opened.
const OPENS: u64 = 1 << 32;

/// Opens the row that waits, from here, where the other frames are gone.
#[inline(always)]
fn open_if(waits: bool) {
    if waits {
        opening::open_waiting(u64::from(opening::place(slot::SYS_EXIT)));
    }
}

/// Books what the call did to its first (or only) fd; returns the fd that a copy came from, or -1, in
/// the low half, and [`OPENS`].
///
/// It and [`book_source`] have frames of their own, side by side: kernels before 6.13 give all frames
/// of a call chain 512 bytes together.
#[inline(never)]
fn book_first(call: &Call) -> u64 {
    let transfer = Transfer { op: 0, result: call.result, requested: UNKNOWN };
    let mut leg = Leg { fd: -1, direction: WRITE, transfer, source: -1 };
    if !decode(call, &mut leg) {
        return u64::from(u32::MAX);
    }
    let opens = if book(call, &leg) { OPENS } else { 0 };
    u64::from(leg.source as u32) | opens
}

/// The reading side of a copy that succeeded: the same bytes came out of the source.
#[inline(never)]
fn book_source(call: &Call, source: i32) -> bool {
    let op = call.class - table::IO_BASE;
    let transfer = Transfer { op, result: call.result, requested: UNKNOWN };
    book(call, &Leg { fd: source, direction: READ, transfer, source: -1 })
}

/// What a call means: which fd, which way, how much was asked for. `false` when it moved nothing that
/// counts. Filled in place: an optional struct would have bytes that the verifier never sees written.
#[inline(always)]
fn decode(call: &Call, leg: &mut Leg) -> bool {
    if call.class == table::SOCKETCALL {
        return socketcall(call, leg);
    }
    let args = call.args;
    let code = call.class - table::IO_BASE;
    leg.fd = args.fd::<0>();
    leg.direction = if code >= op::READ { READ } else { WRITE };
    leg.transfer.op = code;
    match code {
        op::WRITE | op::PWRITE64 | op::SENDTO => leg.transfer.requested = args.get::<2>(),
        op::SENDFILE => leg.copy(args.fd::<1>(), args.fd::<0>(), args.get::<3>()),
        op::SPLICE | op::COPY_FILE_RANGE => {
            leg.copy(args.fd::<0>(), args.fd::<2>(), args.get::<4>());
        }
        // tee leaves the bytes in the first pipe: nothing is read.
        op::TEE => leg.copy(-1, args.fd::<1>(), args.get::<2>()),
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
            from_memory(call, leg);
        }
        _ => {}
    }
    true
}

impl Leg {
    /// A copy between two fds.
    #[inline(always)]
    fn copy(&mut self, from: i32, to: i32, requested: u64) {
        self.fd = to;
        self.source = from;
        self.transfer.requested = requested;
    }

    /// A transfer that `socketcall(2)` wraps.
    #[inline(always)]
    fn wrapped(&mut self, code: u32, result: i64, requested: u64) -> bool {
        self.direction = if code >= op::READ { READ } else { WRITE };
        self.transfer = Transfer { op: code, result, requested };
        true
    }
}

/// Completes a leg whose length or direction is not in the registers.
#[inline(never)]
fn from_memory(call: &Call, leg: &mut Leg) {
    let (list, count) = (call.args.get::<1>(), call.args.get::<2>());
    let compat = call.args.compat;
    match leg.transfer.op {
        op::SENDMMSG | op::RECVMMSG => leg.transfer.result = messages(list, call.result, compat),
        op::SENDMSG => {
            leg.transfer.requested = usermem::msghdr_bytes(list, compat).unwrap_or(UNKNOWN);
        }
        code => {
            if code == op::VMSPLICE && !is_writable(call, leg.fd) {
                leg.direction = READ;
            }
            if call.role != 0 {
                leg.transfer.requested =
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
            losses::count(loss::USER_MEMORY, 0);
            0
        }
    }
}

/// `vmsplice(2)` writes into the write end of a pipe and reads out of the read end.
#[inline(always)]
fn is_writable(call: &Call, fd: i32) -> bool {
    fdlookup::file_of(call.files, fd)
        .and_then(|file| file.member::<u32, _>(&FILE_MODE))
        .is_some_and(|mode| mode & FMODE_WRITE != 0)
}

/// `socketcall(2)`: the number of the call, then a pointer to its 32-bit arguments.
#[inline(always)]
fn socketcall(call: &Call, leg: &mut Leg) -> bool {
    let list = call.args.get::<1>();
    let Some([fd, second, third, flags]) = usermem::read::<[u32; 4]>(list) else {
        if call.role != 0 {
            losses::count(loss::USER_MEMORY, 0);
        }
        return false;
    };
    let peeks = |flags: u32| u64::from(flags) & MSG_PEEK != 0;
    let (list, result) = (u64::from(second), call.result);
    leg.fd = fd as i32;
    // Numbers: include/uapi/linux/net.h.
    match call.args.get::<0>() {
        9 | 11 => leg.wrapped(op::SENDTO, result, u64::from(third)),
        10 | 12 if !peeks(flags) => leg.wrapped(op::RECVFROM, result, UNKNOWN),
        16 => {
            let requested = usermem::msghdr_bytes(list, true).unwrap_or(UNKNOWN);
            leg.wrapped(op::SENDMSG, result, requested)
        }
        17 if !peeks(third) => leg.wrapped(op::RECVMSG, result, UNKNOWN),
        19 if !peeks(flags) => leg.wrapped(op::RECVMMSG, messages(list, result, true), UNKNOWN),
        20 => leg.wrapped(op::SENDMMSG, messages(list, result, true), UNKNOWN),
        _ => false,
    }
}

/// Books one leg in its row. Returns whether there is none yet, and one waits to be opened.
#[inline(always)]
fn book(call: &Call, leg: &Leg) -> bool {
    let Some(file) = fdlookup::file_of(call.files, leg.fd) else {
        return without_object(call, leg);
    };
    let Some(id) = object::id_of(file) else {
        if call.role != 0 {
            losses::count(loss::KERNEL_MEMORY, leg.transfer.result.max(0) as u64);
        }
        return false;
    };
    if call.role == 0 {
        return membership::is_shared_watch(&id) && stranger(leg, &id, file);
    }
    let mut hop = NOT_OURS;
    if membership::is_target(call.role) && is_of_interest(leg.fd) {
        hop = 0;
    } else if !counts_by_object(call.role, &id) {
        hop = output_hop(call, leg);
        if hop == NOT_OURS {
            count_elsewhere(call, leg);
            return false;
        }
    }
    let row = Opening {
        key: ledger::key(call.process, id, leg.fd, leg.direction),
        file,
        role: call.role,
        slot: slot::SYS_EXIT,
        hop,
    };
    book_or_wait(&row, &leg.transfer)
}

#[inline(always)]
fn book_or_wait(row: &Opening, transfer: &Transfer) -> bool {
    capture::note(capture::place::SYS_EXIT, &row.key, transfer);
    if ledger::book(&row.key, transfer) {
        return false;
    }
    opening::wait(row, transfer);
    true
}

/// How far from the target the output of a process is that read what the target wrote.
#[inline(always)]
fn output_hop(call: &Call, leg: &Leg) -> u32 {
    if leg.direction != WRITE || leg.transfer.result <= 0 {
        return NOT_OURS;
    }
    let Some(entry) = call.entry else { return NOT_OURS };
    // SAFETY: the entry points to a live map value.
    match unsafe { (*entry.as_ptr()).hop } {
        0 => NOT_OURS,
        hop => hop,
    }
}

/// Whether bytes on this object count whatever the fd number is.
#[inline(always)]
fn counts_by_object(role: u32, id: &ObjectId) -> bool {
    if membership::is_target(role) {
        membership::is_watched(id)
    } else {
        membership::is_shared_watch(id)
    }
}

/// A process outside the target, seen on a watched object for the first time. Returns as [`book`].
#[inline(never)]
fn stranger(leg: &Leg, id: &ObjectId, file: Kptr) -> bool {
    let Some(process) = task::process_of(task::current()) else {
        losses::count(loss::KERNEL_MEMORY, leg.transfer.result.max(0) as u64);
        return false;
    };
    membership::note_participant(&process);
    let row = Opening {
        key: ledger::key(process, *id, leg.fd, leg.direction),
        file,
        role: ROLE_PARTICIPANT,
        slot: slot::SYS_EXIT,
        hop: NOT_OURS,
    };
    book_or_wait(&row, &leg.transfer)
}

/// The fd was closed when the call returned: refused with `EBADF`, or closed by another thread. Returns
/// as [`book`].
#[inline(never)]
fn without_object(call: &Call, leg: &Leg) -> bool {
    if !membership::is_target(call.role) || !is_of_interest(leg.fd) {
        return false;
    }
    if leg.transfer.result > 0 {
        losses::count(loss::FD_GONE, leg.transfer.result as u64);
    }
    let row = Opening {
        key: ledger::key(call.process, ObjectId::NONE, leg.fd, leg.direction),
        file: Kptr(0),
        role: call.role,
        slot: slot::SYS_EXIT,
        hop: NOT_OURS,
    };
    book_or_wait(&row, &leg.transfer)
}

/// Whether the user asked for this fd number.
#[inline(always)]
pub(crate) fn is_of_interest(fd: i32) -> bool {
    ALL_FDS.load() == 1 || (0..64).contains(&fd) && FD_MASK.load() >> (fd as u32 & 63) & 1 == 1
}

/// Bytes that went to an object nobody watches: only their sum is kept, for the hint "it wrote
/// elsewhere".
#[inline(always)]
fn count_elsewhere(call: &Call, leg: &Leg) {
    if leg.direction != WRITE || leg.transfer.result <= 0 {
        return;
    }
    if let Some(entry) = call.entry.map(NonNull::as_ptr) {
        // SAFETY: the entry points to a live map value.
        unsafe {
            add(&raw mut (*entry).other_bytes, leg.transfer.result as u64);
            add(&raw mut (*entry).other_calls, 1);
        }
    }
}

/// The table entry, identity and role of a process; a stranger has only its tgid.
#[inline(always)]
pub(crate) fn caller(tgid: u32) -> (Option<NonNull<ProcessEntry>>, ProcessId, u32) {
    match membership::entry(tgid) {
        Some(entry) => {
            let (process, role) = membership::read(tgid, entry);
            // Named by the user and not adopted yet: the table does not know its start.
            let process = match process.start_ns {
                0 => task::process_of(task::current()).unwrap_or(process),
                _ => process,
            };
            (NonNull::new(entry), process, role)
        }
        None => (None, ProcessId::new(tgid, 0), 0),
    }
}
