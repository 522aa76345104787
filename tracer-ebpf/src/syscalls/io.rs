//! Transfers between memory and one fd.

use core::ptr::NonNull;

use tracer_common::{
    id::ProcessId,
    ledger::{READ, WRITE},
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
    capture,
    events::loss as losses,
    kernel::{fdlookup, kread::Kptr, task},
    ledger::{
        self, Transfer, elsewhere,
        opening::{self, NO_WATCH, Opening},
    },
    maps::slot,
    object, read_ends,
    targets::{membership, watches},
};

/// Books the current call, which moves bytes.
#[inline(always)]
pub(crate) fn transfer() {
    if !membership::may_be_followed(task::current_tgid()) && leads_to_watched() == 0 {
        return;
    }
    if io_side::decode_call() == 0 {
        return;
    }
    book_and_open();
    capture::memory::capture_pending_call();
    let Some(returned) = SyscallContext::current() else { return };
    let may_have_moved = returned.side.transfer.doubt == Reason::MaybeMoved as u32;
    if returned.side.source >= 0 && (returned.result > 0 || may_have_moved) {
        io_side::turn_to_source(&mut returned.side);
        book_and_open();
    }
}

/// Books the current `ioctl` if it has made a file share the bytes of another file.
#[inline(always)]
pub(crate) fn clone() {
    if io_side::decode_clone() == 0 {
        return;
    }
    book_and_open();
    capture::memory::capture_pending_call();
    let Some(returned) = SyscallContext::current() else { return };
    io_side::turn_to_source(&mut returned.side);
    book_and_open();
}

/// Doubts a direction of the current call's terminal, whose bytes were discarded.
#[inline(always)]
pub(crate) fn doubt_terminal(direction: u32) {
    if doubt_flushed(u64::from(direction)) == 1 {
        opening::open(slot::SYS_EXIT);
    }
}

/// Returns 1 if the row is pending and must be opened. Exported for the same reason as [`io_side::decode_call`].
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn doubt_flushed(direction: u64) -> u64 {
    let Some(call) = Call::current() else { return 0 };
    let fd = call.args.fd::<0>();
    let Some(file) = fdlookup::file_of(call.files, fd) else { return 0 };
    let Some(id) = object::id_of(file) else { return 0 };
    if !counts_by_object(call.role, &id) {
        return 0;
    }
    let (process, role) = match call.role {
        0 => (task::process_of(task::current()), ROLE_PARTICIPANT),
        role => (Some(call.process), role),
    };
    let Some(process) = process else { return 0 };
    let (hop, doubt) = (NO_WATCH, Reason::TtyFlushed.bit());
    let key = ledger::key(process, id, fd, direction as u32);
    losses::count(Reason::TtyFlushed, 0);
    if ledger::doubt_known(&key, doubt) {
        return 0;
    }
    opening::set_pending_doubt(&Opening { key, file, role, slot: slot::SYS_EXIT, hop, doubt });
    1
}

/// Books the side of the current call and opens its row if there is none. The row is opened from the program's
/// outermost stack frame, because the other frames are free again there.
#[inline(always)]
fn book_and_open() {
    let mut booked = book_side();
    if booked == NO_FILE {
        booked = book_without_file();
    }
    if booked == 1 {
        opening::open(slot::SYS_EXIT);
    }
}

/// Result of [`book_side`] if the fd is not open.
const NO_FILE: u64 = 2;

/// Whether the current call, of a process that is not followed, may use a watched object: 0 means certainly
/// not. Exported for the same reason as [`io_side::decode_call`].
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn leads_to_watched() -> u64 {
    let Some(returned) = SyscallContext::current() else { return 0 };
    let fd = |argument: u64| argument as u32 as i32;
    let other = match returned.class.wrapping_sub(table::IO_BASE) {
        op::SENDFILE | op::TEE => fd(returned.args[1]),
        op::SPLICE | op::COPY_FILE_RANGE => fd(returned.args[2]),
        // The fd is in user memory.
        _ if returned.class == table::SOCKETCALL => return 1,
        _ => -1,
    };
    let files = task::current_open_files();
    let leads = |fd| watches::may_lead_to_watched(files, fd);
    u64::from(leads(fd(returned.args[0])) || leads(other))
}

/// Books the side of the current call. Returns 1 if its row is pending and must be opened. Exported for the
/// same reason as [`io_side::decode_call`].
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn book_side() -> u64 {
    let Some(call) = Call::current() else { return 0 };
    let Some(returned) = SyscallContext::current() else { return 0 };
    let side = &returned.side;
    match fdlookup::file_of(call.files, side.fd) {
        Some(file) if io_side::is_plain_read(side) && object::is_message_queue(file) => 0,
        Some(file) => u64::from(book(&call, side, file)),
        None => NO_FILE,
    }
}

/// Books one side in its row. Returns `true` if there is no row yet and one is pending.
#[inline(always)]
fn book(call: &Call, side: &IoSide, file: Kptr) -> bool {
    let Some(mut id) = object::id_of(file) else {
        if call.role != 0 {
            losses::count(Reason::KernelMemory, side.transfer.result.max(0) as u64);
        }
        return false;
    };
    if call.role == 0 {
        return watches::is_shared_watch(&id) && book_new_participant(side, &id, file);
    }
    let mut hop = NO_WATCH;
    if membership::is_target(call.role) && watches::is_of_interest(side.fd) {
        hop = 0;
    } else if !counts_by_object(call.role, &id) {
        hop = output_hop(call, side);
        if hop == NO_WATCH {
            count_elsewhere(call, side);
            return false;
        }
    }
    if id.discriminator == object::UNKNOWN_FILE {
        id.discriminator = object::number_file(file.0) as u32;
    }
    let row = Opening {
        key: ledger::key(call.process, id, side.fd, side.direction),
        file,
        role: call.role,
        slot: slot::SYS_EXIT,
        hop,
        doubt: 0,
    };
    book_or_set_pending(&row, &side.transfer)
}

#[inline(always)]
fn book_or_set_pending(row: &Opening, transfer: &Transfer) -> bool {
    capture::set_pending(capture::slot::SYS_EXIT, &row.key, transfer);
    if ledger::book(&row.key, transfer) {
        return false;
    }
    opening::set_pending(row, transfer);
    true
}

/// The hop of the output of a relay, and of what a file system refused a target; [`NO_WATCH`] if this is no output, or
/// the process is no relay.
#[inline(always)]
fn output_hop(call: &Call, side: &IoSide) -> u32 {
    let result = side.transfer.result;
    let is_refused = elsewhere::is_refusal(-result);
    if side.direction != WRITE || result <= 0 && !is_refused {
        return NO_WATCH;
    }
    let Some(entry) = call.entry else { return NO_WATCH };
    // SAFETY: the entry points to a live map value.
    match unsafe { (*entry.as_ptr()).hop } {
        0 if is_refused && membership::is_target(call.role) => 1,
        0 => NO_WATCH,
        hop => hop,
    }
}

/// Whether transfers on this object count independently of the fd number.
#[inline(always)]
pub(crate) fn counts_by_object(role: u32, id: &ObjectId) -> bool {
    if membership::is_target(role) { watches::is_watched(id) } else { watches::is_shared_watch(id) }
}

/// Books a transfer on a watched object by a process that is not followed yet, and makes it a participant.
/// Returns as [`book`].
#[inline(never)]
fn book_new_participant(side: &IoSide, id: &ObjectId, file: Kptr) -> bool {
    let Some(process) = task::process_of(task::current()) else {
        losses::count(Reason::KernelMemory, side.transfer.result.max(0) as u64);
        return false;
    };
    let row = Opening {
        key: ledger::key(process, *id, side.fd, side.direction),
        file,
        role: ROLE_PARTICIPANT,
        slot: slot::SYS_EXIT,
        hop: NO_WATCH,
        doubt: 0,
    };
    book_or_set_pending(&row, &side.transfer)
}

/// Books the side of a call whose fd is not open when it returns: it failed with `EBADF`, or another thread closed the
/// fd. Returns as [`book_side`]. Exported for the same reason as [`io_side::decode_call`].
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn book_without_file() -> u64 {
    let Some(call) = Call::current() else { return 0 };
    let Some(returned) = SyscallContext::current() else { return 0 };
    u64::from(book_without_object(&call, &returned.side))
}

#[inline(always)]
fn book_without_object(call: &Call, side: &IoSide) -> bool {
    let of_interest = membership::is_target(call.role) && watches::is_of_interest(side.fd);
    let returned_late = side.direction == READ && side.transfer.result >= 0;
    let mut id = ObjectId::NONE;
    if returned_late && read_ends::closed_object(&call.process, side.fd, &mut id) {
        if !of_interest && !counts_by_object(call.role, &id) {
            return false;
        }
    } else if !of_interest {
        count_elsewhere(call, side);
        return false;
    } else if side.transfer.result > 0 {
        losses::count(Reason::FdGone, side.transfer.result as u64);
    }
    let row = Opening {
        key: ledger::key(call.process, id, side.fd, side.direction),
        file: Kptr(0),
        role: call.role,
        slot: slot::SYS_EXIT,
        hop: NO_WATCH,
        doubt: 0,
    };
    book_or_set_pending(&row, &side.transfer)
}

/// Counts bytes written to an object that is not watched. Only the sum is kept, for the hint that the process
/// wrote elsewhere.
#[inline(always)]
fn count_elsewhere(call: &Call, side: &IoSide) {
    if let Some(entry) = call.entry.map(NonNull::as_ptr) {
        elsewhere::count(entry, side.direction, side.transfer.result);
    }
}

/// The table entry, identity and role of a process. If it is not followed: no entry, only the tgid, and role 0.
#[inline(always)]
pub(crate) fn caller(tgid: u32) -> (Option<NonNull<ProcessEntry>>, ProcessId, u32) {
    match membership::entry(tgid) {
        Some(entry) => {
            let (process, role) = membership::read(tgid, entry);
            // Named by the user and not adopted yet: the entry has no start time.
            let process = match process.start_ns {
                0 => task::process_of(task::current()).unwrap_or(process),
                _ => process,
            };
            (NonNull::new(entry), process, role)
        }
        None => (None, ProcessId::new(tgid, 0), 0),
    }
}
