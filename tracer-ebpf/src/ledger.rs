//! Books transfers in ledger rows.

mod adds;
pub(crate) mod elsewhere;
pub(crate) mod opening;
mod rows;

use tracer_common::{
    event::{self, kind},
    id::ProcessId,
    ledger::{LedgerKey, LedgerRow, WINDOW_SHIFT, WRITE, error},
    loss::Reason,
    op,
};

pub(crate) use self::adds::{Adds, has_ring, note_ring};
use self::rows::create;
pub(crate) use self::rows::{Found, by_inode, find, forget_inodes, is_written};
use crate::{
    events::{emit, loss as losses},
    kernel::{
        atomic::{MINUS_ONE, add, add32},
        kread::Kptr,
        task,
    },
    ledger::opening::Opening,
    maps::{INTERRUPTED, slot},
    targets::membership::{EXISTS, NOEXIST},
};

/// Range of the kernel's internal restart codes (`include/linux/errno.h`), which are not errors of the call.
const ERESTARTSYS: i64 = 512;
const ERESTART_RESTARTBLOCK: i64 = 516;

/// `MAX_RW_COUNT` (`include/linux/fs.h`): maximum number of bytes that the kernel transfers in one call.
const MAX_RW_COUNT: u64 = 0x7fff_f000;

/// [`Transfer::requested`] if the requested length is unknown.
pub(crate) const UNKNOWN: u64 = u64::MAX;

/// [`Transfer::op`] of a row that is opened without a transfer.
pub(crate) const NO_TRANSFER: u32 = u32::MAX;

/// The result of one call on one fd.
#[derive(Clone, Copy)]
pub(crate) struct Transfer {
    /// [`op`] code.
    pub(crate) op: u32,
    /// A [`Reason`] why it may be wrong, or 0.
    pub(crate) doubt: u32,
    /// Bytes, or a negative errno.
    pub(crate) result: i64,
    /// Requested bytes, or [`UNKNOWN`].
    pub(crate) requested: u64,
}

/// Whether a call was interrupted, and may be restarted by the kernel.
#[inline(always)]
fn is_interrupted(result: i64) -> bool {
    (-ERESTART_RESTARTBLOCK..=-ERESTARTSYS).contains(&result)
}

/// Books a transfer in an existing row. Returns `false` if there is none.
#[inline(always)]
pub(crate) fn book(key: &LedgerKey, transfer: &Transfer) -> bool {
    if is_interrupted(transfer.result) {
        store_interrupted(key);
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

/// Creates a row, books its first transfer and sends the event. Cold: runs once for each row.
#[inline(always)]
pub(crate) fn open(opening: &Opening, transfer: &Transfer) {
    let Opening { key, file, role, slot, .. } = opening;
    let scratch = if *slot == slot::URING { slot::URING_FD_ROW } else { slot::FD_ROW };
    let opened = create(scratch, key, *file, emit::now());
    let Some(found) = find(key) else {
        losses::count(Reason::LedgerFull, transfer.result.max(0) as u64);
        return;
    };
    if transfer.op != NO_TRANSFER {
        apply(found, transfer, Adds::Atomic);
    }
    if opening.doubt != 0 {
        set_doubts(found.row, opening.doubt);
    }
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

/// Number of entries in [`INTERRUPTED`]. If it is 0, calls skip the lookup.
#[unsafe(no_mangle)]
static mut INTERRUPTED_CALLS: u64 = 0;

/// Whether [`INTERRUPTED`] has any entry.
#[inline(always)]
pub(crate) fn has_interrupted() -> bool {
    // SAFETY: an aligned load of a counter that other CPUs change atomically.
    unsafe { core::ptr::read_volatile(&raw const INTERRUPTED_CALLS) != 0 }
}

/// Stores an interrupted call of the current thread. Only the delivery of the signal decides whether the caller
/// sees an error.
#[inline(never)]
fn store_interrupted(key: &LedgerKey) {
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

/// 1 + the fd of the interrupted write of a thread; 0 if there is none.
#[inline(always)]
pub(crate) fn interrupted_write(tid: u32) -> u32 {
    if !has_interrupted() {
        return 0;
    }
    // SAFETY: only the thread itself changes its entry.
    unsafe { INTERRUPTED.get(tid) }
        .filter(|key| key.direction == WRITE)
        .map_or(0, |key| (key.fd as u32).wrapping_add(1))
}

/// Removes the interrupted call of a thread. Returns whether it had one.
#[inline(always)]
pub(crate) fn forget_interrupted(tid: u32) -> bool {
    let was_stored = has_interrupted() && INTERRUPTED.remove(tid).is_ok();
    if was_stored {
        // SAFETY: as in `store_interrupted`.
        unsafe { add(&raw mut INTERRUPTED_CALLS, MINUS_ONE) };
    }
    was_stored
}

/// Books an interrupted call that failed with `EINTR`.
#[inline(always)]
pub(crate) fn book_interrupt(key: &LedgerKey) {
    if find(key).is_none() {
        create(slot::SIGNAL_FD_ROW, key, Kptr(0), emit::now());
    }
    match find(key) {
        Some(found) => count_error(found.row, error::EINTR),
        None => losses::count(Reason::LedgerFull, 0),
    }
}

/// Books a transfer in a row. `adds`: how to change the counters.
#[inline(always)]
pub(crate) fn apply(found: Found, transfer: &Transfer, adds: Adds) {
    let row = found.row;
    if is_due(found.tick) {
        update_time(row, emit::now());
    }
    let op = 1 << transfer.op;
    // SAFETY: `row` points to a live map value; counters are changed by one add each; times, `ops` and
    // the window are plain stores, and the last store wins.
    unsafe {
        if (*row).ops & op == 0 {
            (*row).ops |= op;
        }
    }
    if transfer.doubt != 0 {
        doubt(row, transfer.doubt, transfer.result.max(0) as u64);
    }
    if transfer.result >= 0 {
        succeed(row, transfer, adds);
    } else if transfer.doubt != Reason::MaybeMoved as u32 {
        fail(row, transfer);
    }
}

/// Whether to read the clock for a transfer: always, or once per tick ([`tracer_common::ledger::FdRow::tick`]).
#[inline(always)]
fn is_due(tick: *mut u64) -> bool {
    if tick.is_null() {
        return true;
    }
    // SAFETY: points into a live map value; the last store wins, and concurrent values are nearly equal.
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

/// Stores the time of a transfer, and starts a new window if the previous one has ended.
#[inline(always)]
fn update_time(row: *mut LedgerRow, now: u64) {
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

/// Whether the operation copies between two fds. Such a copy may end early at the source's end of file, which is
/// not a short write.
#[inline(always)]
fn is_copy(transfer: &Transfer) -> bool {
    matches!(transfer.op, op::SENDFILE | op::SPLICE | op::TEE | op::COPY_FILE_RANGE | op::FICLONE)
}

#[inline(always)]
fn fail(row: *mut LedgerRow, transfer: &Transfer) {
    if is_copy(transfer) && is_unsupported_copy(-transfer.result) {
        return;
    }
    let class = match -transfer.result {
        32 => error::EPIPE,
        11 => error::EAGAIN,
        9 => error::EBADF,
        28 => error::ENOSPC,
        5 => error::EIO,
        4 => error::EINTR,
        27 => error::EFBIG,
        122 => error::EDQUOT,
        4096 => error::NOT_RUN,
        _ => error::OTHER,
    };
    count_error(row, class);
    // A copy may also fail because its source is empty, or not open.
    if class == error::EINTR || transfer.requested == UNKNOWN || is_copy(transfer) {
        return;
    }
    let refused = transfer.requested.min(MAX_RW_COUNT);
    // SAFETY: as in `apply`.
    unsafe {
        if class == error::EAGAIN {
            add(&raw mut (*row).refused, refused);
            (*row).last_refused = refused;
        } else {
            add(&raw mut (*row).failed, refused);
        }
    }
}

/// Whether a copy failed because it is not supported for this pair of fds: `EINVAL`, `EXDEV`, `ENOSYS`,
/// `EOPNOTSUPP`. The caller (`cat`, `cp`) then uses read and write, so this is not counted as an error.
#[inline(always)]
fn is_unsupported_copy(errno: i64) -> bool {
    matches!(errno, 22 | 18 | 38 | 95)
}

/// Notes that the counts of a row may be wrong, for a reason that concerns its object only. `bytes`: what the transfer
/// may have moved.
#[inline(always)]
fn doubt(row: *mut LedgerRow, reason: u32, bytes: u64) {
    losses::count_number(reason, bytes);
    set_doubts(row, 1 << (reason & 31));
}

/// Doubts the row of a key. Returns `false` if there is none.
#[inline(always)]
pub(crate) fn doubt_known(key: &LedgerKey, bits: u32) -> bool {
    match find(key) {
        Some(found) => {
            set_doubts(found.row, bits);
            true
        }
        None => false,
    }
}

#[inline(always)]
fn set_doubts(row: *mut LedgerRow, bits: u32) {
    // SAFETY: as in `apply`; all writers only set bits, and a lost bit is set again by the next doubtful transfer.
    unsafe {
        if (*row).doubts & bits == 0 {
            (*row).doubts |= bits;
        }
    }
}

#[inline(always)]
fn count_error(row: *mut LedgerRow, class: u32) {
    // SAFETY: as in `apply`; `class` is a constant below `error::COUNT`.
    unsafe {
        let errors = (&raw mut (*row).errors).cast::<u32>();
        add32(errors.add(class as usize), 1);
    }
}

/// The key of a row.
#[inline(always)]
pub(crate) fn key(
    process: ProcessId,
    object: tracer_common::object::ObjectId,
    fd: i32,
    direction: u32,
) -> LedgerKey {
    LedgerKey { process, object, fd, direction }
}
