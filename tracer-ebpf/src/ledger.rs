//! The ledger: one add per fact.

mod rows;

use tracer_common::{
    event::{self, kind},
    id::ProcessId,
    ledger::{LedgerKey, LedgerRow, WINDOW_SHIFT, error},
    loss::Reason,
    op,
};

use self::rows::make;
pub(crate) use self::rows::{Found, by_inode, find};
use crate::{
    atomic::{MINUS_ONE, add, add32},
    emit,
    kread::Kptr,
    loss as losses,
    maps::{INTERRUPTED, slot},
    membership::{EXISTS, NOEXIST},
    opening::Opening,
    task,
};

/// The kernel's internal restart codes (`include/linux/errno.h`): no error yet.
const ERESTARTSYS: i64 = 512;
const ERESTART_RESTARTBLOCK: i64 = 516;

/// `MAX_RW_COUNT` (`include/linux/fs.h`): the kernel moves no more in one call, whatever was asked for.
const MAX_RW_COUNT: u64 = 0x7fff_f000;

/// `requested` when the caller's wish is not known.
pub(crate) const UNKNOWN: u64 = u64::MAX;

/// One call's outcome.
#[derive(Clone, Copy)]
pub(crate) struct Transfer {
    /// [`op`] code.
    pub(crate) op: u32,
    /// Bytes, or a negative errno.
    pub(crate) result: i64,
    /// Bytes asked for, or [`UNKNOWN`].
    pub(crate) requested: u64,
}

/// How counters are changed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Adds {
    /// Others may change them at the same moment.
    Atomic,
    /// Nobody else can: the only thread of a process that has not used io_uring.
    Plain,
}

/// Whether a call was interrupted, and may be restarted by the kernel.
#[inline(always)]
fn is_interrupted(result: i64) -> bool {
    (-ERESTART_RESTARTBLOCK..=-ERESTARTSYS).contains(&result)
}

/// Books a transfer in a row that exists; `false` when there is none yet.
#[inline(always)]
pub(crate) fn book(key: &LedgerKey, transfer: &Transfer) -> bool {
    if is_interrupted(transfer.result) {
        note_interrupted(key);
        return true;
    }
    match find(key) {
        Some(found) => {
            apply(found, transfer, Adds::Atomic);
            true
        }
        None => false,
    }
}

/// Opens a row for a transfer and announces it. Cold: once for each row.
#[inline(always)]
pub(crate) fn open(opening: &Opening, transfer: &Transfer) {
    let Opening { key, file, role, slot, .. } = opening;
    let scratch = if *slot == slot::URING { slot::URING_FD_ROW } else { slot::FD_ROW };
    let opened = make(scratch, key, *file, emit::now());
    let Some(found) = find(key) else {
        losses::count(Reason::LedgerFull, transfer.result.max(0) as u64);
        return;
    };
    apply(found, transfer, Adds::Atomic);
    if opened {
        announce(*slot, key, *role, transfer);
    }
}

#[inline(never)]
fn announce(slot: u32, key: &LedgerKey, role: u32, transfer: &Transfer) {
    if let Some(record) = emit::start::<event::FirstIo>(slot, kind::FIRST_IO) {
        record.payload.key = *key;
        record.payload.result = transfer.result;
        record.payload.op = transfer.op;
        record.payload.role = role;
        record.payload.comm = task::comm_of(task::current());
        record.send(0);
    }
}

/// How many entries [`INTERRUPTED`] has: where it has none, no call pays a look into it.
#[unsafe(no_mangle)]
static mut INTERRUPTED_CALLS: u64 = 0;

/// Whether any thread's interrupted call is noted.
#[inline(always)]
pub(crate) fn has_interrupted() -> bool {
    // SAFETY: an aligned load of a counter that others change atomically.
    unsafe { core::ptr::read_volatile(&raw const INTERRUPTED_CALLS) != 0 }
}

/// Notes an interrupted call of the current thread: only the signal's delivery tells whether the caller ever
/// learns of it.
#[inline(never)]
fn note_interrupted(key: &LedgerKey) {
    let tid = task::current_tid();
    // SAFETY: points to a live map value (`.bss`).
    unsafe { add(&raw mut INTERRUPTED_CALLS, 1) };
    let Err(error) = INTERRUPTED.insert(tid, key, NOEXIST) else { return };
    // SAFETY: as above.
    unsafe { add(&raw mut INTERRUPTED_CALLS, MINUS_ONE) };
    if error != EXISTS || INTERRUPTED.insert(tid, key, 0).is_err() {
        losses::count(Reason::LedgerFull, 0);
    }
}

/// The thread is past its interrupted call, or has ended. Whether one was noted.
#[inline(always)]
pub(crate) fn forget_interrupted(tid: u32) -> bool {
    let was_noted = has_interrupted() && INTERRUPTED.remove(tid).is_ok();
    if was_noted {
        // SAFETY: as in `note_interrupted`.
        unsafe { add(&raw mut INTERRUPTED_CALLS, MINUS_ONE) };
    }
    was_noted
}

/// Books an interrupted call that its caller saw fail with `EINTR`.
#[inline(always)]
pub(crate) fn book_interrupt(key: &LedgerKey) {
    if find(key).is_none() {
        make(slot::SIGNAL_FD_ROW, key, Kptr(0), emit::now());
    }
    match find(key) {
        Some(found) => count_error(found.row, error::EINTR),
        None => losses::count(Reason::LedgerFull, 0),
    }
}

/// Books what a call did. `adds`: how.
#[inline(always)]
pub(crate) fn apply(found: Found, transfer: &Transfer, adds: Adds) {
    let row = found.row;
    if is_due(found.tick) {
        note_time(row, emit::now());
    }
    let op = 1 << transfer.op;
    // SAFETY: `row` points to a live map value; each counter is changed by one atomic add, times, ways
    // and the window are plain stores whose last writer wins.
    unsafe {
        if (*row).ops & op == 0 {
            (*row).ops |= op;
        }
    }
    if transfer.result >= 0 {
        succeed(row, transfer, adds);
    } else {
        fail(row, transfer);
    }
}

/// Whether a transfer gets a time of its own: always, or once for each tick.
#[inline(always)]
fn is_due(tick: *mut u64) -> bool {
    if tick.is_null() {
        return true;
    }
    // SAFETY: points into a live map value; the last writer wins, and all write about the same.
    unsafe {
        let known = *tick;
        if known == 0 {
            return true;
        }
        let current = emit::tick();
        if known != current {
            *tick = current;
        }
        known != current
    }
}

/// Notes when a transfer was, and begins a window where the one before has ended.
#[inline(always)]
fn note_time(row: *mut LedgerRow, now: u64) {
    let window = now >> WINDOW_SHIFT;
    // SAFETY: as in `apply`.
    unsafe {
        (*row).last_ns = now;
        if (*row).window != window {
            let before = (*row).bytes;
            let adjacent = (*row).window + 1 == window;
            let previous = before.wrapping_sub((*row).before_window);
            (*row).previous_window_bytes = if adjacent { previous } else { 0 };
            (*row).before_window = before;
            (*row).window = window;
        }
    }
}

#[inline(always)]
fn succeed(row: *mut LedgerRow, transfer: &Transfer, adds: Adds) {
    let bytes = transfer.result as u64;
    // SAFETY: as in `apply`.
    unsafe {
        if adds == Adds::Plain {
            (*row).bytes += bytes;
            (*row).calls += 1;
        } else {
            add(&raw mut (*row).bytes, bytes);
            add(&raw mut (*row).calls, 1);
        }
        if bytes == 0 {
            add32(&raw mut (*row).zero, 1);
        } else if transfer.requested != UNKNOWN && bytes < transfer.requested && !is_copy(transfer)
        {
            add32(&raw mut (*row).short, 1);
        }
        if (*row).last_refused != 0 {
            (*row).last_refused = 0;
        }
    }
}

/// A copy between two fds ends early at the source's end of file: that is no short write.
#[inline(always)]
fn is_copy(transfer: &Transfer) -> bool {
    matches!(transfer.op, op::SENDFILE | op::SPLICE | op::TEE | op::COPY_FILE_RANGE)
}

#[inline(always)]
fn fail(row: *mut LedgerRow, transfer: &Transfer) {
    if is_copy(transfer) && is_probe(-transfer.result) {
        return;
    }
    let class = match -transfer.result {
        32 => error::EPIPE,
        11 => error::EAGAIN,
        9 => error::EBADF,
        28 => error::ENOSPC,
        5 => error::EIO,
        4 => error::EINTR,
        _ => error::OTHER,
    };
    count_error(row, class);
    // Of a copy, the source may have been empty: nothing says that the target refused.
    if class == error::EAGAIN && transfer.requested != UNKNOWN && !is_copy(transfer) {
        let refused = transfer.requested.min(MAX_RW_COUNT);
        // SAFETY: as in `apply`.
        unsafe {
            add(&raw mut (*row).refused, refused);
            (*row).last_refused = refused;
        }
    }
}

/// What a copy between two fds answers when it cannot be made between this pair: `EINVAL`, `EXDEV`,
/// `ENOSYS`, `EOPNOTSUPP`. Its caller then reads and writes (`cat`, `cp`): nothing was refused.
#[inline(always)]
fn is_probe(errno: i64) -> bool {
    matches!(errno, 22 | 18 | 38 | 95)
}

#[inline(always)]
fn count_error(row: *mut LedgerRow, class: u32) {
    // SAFETY: as in `apply`; `class` is a constant below `error::COUNT`.
    unsafe {
        let errors = (&raw mut (*row).errors).cast::<u32>();
        add32(errors.add(class as usize), 1);
    }
}

/// The row for a process, fd and direction on an object.
#[inline(always)]
pub(crate) fn key(
    process: ProcessId,
    object: tracer_common::object::ObjectId,
    fd: i32,
    direction: u32,
) -> LedgerKey {
    LedgerKey { process, object, fd, direction }
}
