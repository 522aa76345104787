//! Transfers between memory and one fd.

use core::ptr::NonNull;

use tracer_common::{
    id::ProcessId,
    ledger::WRITE,
    loss::Reason,
    object::ObjectId,
    op,
    process::{ProcessEntry, ROLE_PARTICIPANT},
};

use super::{
    Call, SyscallContext,
    io_side::{self, IoSide},
    table,
};
use crate::{
    atomic::add,
    capture,
    constants::{ALL_FDS, FD_MASK},
    fdlookup,
    kread::Kptr,
    ledger::{self, Transfer},
    loss as losses,
    maps::slot,
    membership, object,
    opening::{self, NOT_OURS, Opening},
    task,
};

/// Books the noted call, which moves bytes.
#[inline(always)]
pub(crate) fn transfer() {
    if !membership::may_be_followed(task::current_tgid()) && leads_to_watched() == 0 {
        return;
    }
    if io_side::decode_call() == 0 {
        return;
    }
    book_and_open();
    capture::memory::of_call();
    let Some(returned) = SyscallContext::noted() else { return };
    if returned.side.source >= 0 && returned.result > 0 {
        io_side::turn_to_source(&mut returned.side);
        book_and_open();
    }
}

/// Books the side that stands in the noted call, and opens its row where there is none: from the program's
/// own frame, where the other frames are gone.
#[inline(always)]
fn book_and_open() {
    if book_side() == 1 {
        opening::open(slot::SYS_EXIT);
    }
}

/// Whether the noted call of a stranger may concern an object under watch: 0 is certain. Exported as
/// [`io_side::decode_call`].
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn leads_to_watched() -> u64 {
    let Some(returned) = SyscallContext::noted() else { return 0 };
    let fd = |argument: u64| argument as u32 as i32;
    let other = match returned.class.wrapping_sub(table::IO_BASE) {
        op::SENDFILE | op::TEE => fd(returned.args[1]),
        op::SPLICE | op::COPY_FILE_RANGE => fd(returned.args[2]),
        // Its fd is in memory.
        _ if returned.class == table::SOCKETCALL => return 1,
        _ => -1,
    };
    let files = task::current_open_files();
    let leads = |fd| membership::may_lead_to_watched(files, fd);
    u64::from(leads(fd(returned.args[0])) || leads(other))
}

/// Books the side that stands in the noted call; 1 when its row waits to be opened. Exported as
/// [`io_side::decode_call`].
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn book_side() -> u64 {
    let Some(call) = Call::noted() else { return 0 };
    let Some(returned) = SyscallContext::noted() else { return 0 };
    u64::from(book(&call, &returned.side))
}

/// Books one side in its row. Returns whether there is none yet, and one waits to be opened.
#[inline(always)]
fn book(call: &Call, side: &IoSide) -> bool {
    let Some(file) = fdlookup::file_of(call.files, side.fd) else {
        return without_object(call, side);
    };
    let Some(id) = object::id_of(file) else {
        if call.role != 0 {
            losses::count(Reason::KernelMemory, side.transfer.result.max(0) as u64);
        }
        return false;
    };
    if call.role == 0 {
        return membership::is_shared_watch(&id) && stranger(side, &id, file);
    }
    let mut hop = NOT_OURS;
    if membership::is_target(call.role) && is_of_interest(side.fd) {
        hop = 0;
    } else if !counts_by_object(call.role, &id) {
        hop = output_hop(call, side);
        if hop == NOT_OURS {
            count_elsewhere(call, side);
            return false;
        }
    }
    let row = Opening {
        key: ledger::key(call.process, id, side.fd, side.direction),
        file,
        role: call.role,
        slot: slot::SYS_EXIT,
        hop,
    };
    book_or_wait(&row, &side.transfer)
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
fn output_hop(call: &Call, side: &IoSide) -> u32 {
    if side.direction != WRITE || side.transfer.result <= 0 {
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
pub(crate) fn counts_by_object(role: u32, id: &ObjectId) -> bool {
    if membership::is_target(role) {
        membership::is_watched(id)
    } else {
        membership::is_shared_watch(id)
    }
}

/// A process outside the target, seen on a watched object for the first time. Returns as [`book`].
#[inline(never)]
fn stranger(side: &IoSide, id: &ObjectId, file: Kptr) -> bool {
    let Some(process) = task::process_of(task::current()) else {
        losses::count(Reason::KernelMemory, side.transfer.result.max(0) as u64);
        return false;
    };
    membership::note_participant(&process, task::current());
    let row = Opening {
        key: ledger::key(process, *id, side.fd, side.direction),
        file,
        role: ROLE_PARTICIPANT,
        slot: slot::SYS_EXIT,
        hop: NOT_OURS,
    };
    book_or_wait(&row, &side.transfer)
}

/// The fd was closed when the call returned: refused with `EBADF`, or closed by another thread. Returns
/// as [`book`].
#[inline(never)]
fn without_object(call: &Call, side: &IoSide) -> bool {
    if !membership::is_target(call.role) || !is_of_interest(side.fd) {
        return false;
    }
    if side.transfer.result > 0 {
        losses::count(Reason::FdGone, side.transfer.result as u64);
    }
    let row = Opening {
        key: ledger::key(call.process, ObjectId::NONE, side.fd, side.direction),
        file: Kptr(0),
        role: call.role,
        slot: slot::SYS_EXIT,
        hop: NOT_OURS,
    };
    book_or_wait(&row, &side.transfer)
}

/// Whether the user asked for this fd number.
#[inline(always)]
pub(crate) fn is_of_interest(fd: i32) -> bool {
    ALL_FDS.load() == 1 || (0..64).contains(&fd) && FD_MASK.load() >> (fd as u32 & 63) & 1 == 1
}

/// Bytes that went to an object nobody watches: only their sum is kept, for the hint "it wrote
/// elsewhere".
#[inline(always)]
fn count_elsewhere(call: &Call, side: &IoSide) {
    if side.direction != WRITE || side.transfer.result <= 0 {
        return;
    }
    if let Some(entry) = call.entry.map(NonNull::as_ptr) {
        // SAFETY: the entry points to a live map value.
        unsafe {
            add(&raw mut (*entry).other_bytes, side.transfer.result as u64);
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
