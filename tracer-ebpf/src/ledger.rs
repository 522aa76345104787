//! The ledger: one atomic add per fact.

use tracer_common::{
    event::{self, kind},
    id::ProcessId,
    ledger::{LedgerKey, LedgerRow, WINDOW_SHIFT, error},
    loss, op,
};

use crate::{
    atomic::{add, add32},
    emit, loss as losses,
    maps::{LEDGER, RESTARTS},
    membership::NOEXIST,
    task,
};

/// The kernel's internal restart codes (`include/linux/errno.h`): no error yet.
const ERESTARTSYS: i64 = 512;
const ERESTART_RESTARTBLOCK: i64 = 516;

/// `MAX_RW_COUNT` (`include/linux/fs.h`): the kernel moves no more in one call, whatever was asked for.
const MAX_RW_COUNT: u64 = 0x7fff_f000;

/// A new row. In `.rodata`, because the stack of all frames together is 512 bytes.
static FRESH: LedgerRow = LedgerRow::ZERO;

#[inline(always)]
fn fresh() -> &'static LedgerRow {
    &FRESH
}

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

/// Books a transfer in a row that exists; `false` when there is none yet.
#[inline(always)]
pub(crate) fn book(key: &LedgerKey, transfer: &Transfer) -> bool {
    if (-ERESTART_RESTARTBLOCK..=-ERESTARTSYS).contains(&transfer.result) {
        // Interrupted. Only the signal's delivery tells whether the caller ever learns of it.
        let _ = RESTARTS.insert(task::current_tid(), key, 0);
        return true;
    }
    match LEDGER.get_ptr_mut(key) {
        Some(row) => {
            apply(row, transfer, emit::now());
            true
        }
        None => false,
    }
}

/// Opens a row for a transfer and announces it. Cold: once for each row.
#[inline(never)]
pub(crate) fn open(slot: u32, key: &LedgerKey, role: u32, transfer: &Transfer) {
    let now = emit::now();
    let opened = LEDGER.insert(key, fresh(), NOEXIST).is_ok();
    let Some(row) = LEDGER.get_ptr_mut(key) else {
        losses::count(loss::LEDGER_FULL, transfer.result.max(0) as u64);
        return;
    };
    if opened {
        // SAFETY: as in `apply`.
        unsafe { (*row).first_ns = now };
    }
    apply(row, transfer, now);
    if opened {
        announce(slot, key, role, transfer);
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

/// Books an interrupted call that its caller saw fail with `EINTR`.
#[inline(always)]
pub(crate) fn book_interrupt(key: &LedgerKey) {
    if LEDGER.get_ptr_mut(key).is_none() {
        let _ = LEDGER.insert(key, fresh(), NOEXIST);
    }
    match LEDGER.get_ptr_mut(key) {
        Some(row) => {
            // SAFETY: as in `apply`.
            unsafe {
                if (*row).first_ns == 0 {
                    (*row).first_ns = emit::now();
                }
            }
            count_error(row, error::EINTR);
        }
        None => losses::count(loss::LEDGER_FULL, 0),
    }
}

#[inline(always)]
fn apply(row: *mut LedgerRow, transfer: &Transfer, now: u64) {
    // SAFETY: `row` points to a live map value; each counter is changed by one atomic add, times, ways
    // and the window are plain stores whose last writer wins.
    unsafe {
        (*row).last_ns = now;
        (*row).ops |= 1 << transfer.op;
    }
    if transfer.result >= 0 {
        succeed(row, transfer, now);
    } else {
        fail(row, transfer);
    }
}

#[inline(always)]
fn succeed(row: *mut LedgerRow, transfer: &Transfer, now: u64) {
    let bytes = transfer.result as u64;
    let window = now >> WINDOW_SHIFT;
    // SAFETY: as in `apply`.
    unsafe {
        add(&raw mut (*row).bytes, bytes);
        add(&raw mut (*row).calls, 1);
        if bytes == 0 {
            add32(&raw mut (*row).zero, 1);
        } else if transfer.requested != UNKNOWN && bytes < transfer.requested && !is_copy(transfer)
        {
            add32(&raw mut (*row).short, 1);
        }
        if (*row).window != window {
            let adjacent = (*row).window + 1 == window;
            (*row).previous_window_bytes = if adjacent { (*row).window_bytes } else { 0 };
            (*row).window_bytes = 0;
            (*row).window = window;
        }
        add(&raw mut (*row).window_bytes, bytes);
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
