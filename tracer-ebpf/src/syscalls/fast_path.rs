//! The fast path, which nearly every call of the machine takes. It handles calls that need no processing, and
//! plain transfers that succeeded and whose row exists. All other calls take the slow path in [`super::io`] and
//! [`super::facts`].

use tracer_common::{
    ledger::{FdKey, READ, WRITE},
    op,
};

use super::{
    returned::Hook,
    table::{self, IO_BASE, IO_LAST},
    witness,
};
use crate::{
    capture,
    kernel::{fdlookup, kread::Kptr, regs, task::CurrentTask},
    ledger::{self, Adds, Transfer, UNKNOWN},
    object,
    targets::{membership, watches},
};

const fn class(op: u32) -> u64 {
    1 << (IO_BASE + op)
}

/// Classes with one fd as the first argument. The requested length is the third argument, or is not needed.
/// Bit n: class n.
const PLAIN: u64 = class(op::WRITE) | class(op::PWRITE64) | READS;
const READS: u64 = class(op::READ)
    | class(op::PREAD64)
    | class(op::READV)
    | class(op::PREADV)
    | class(op::PREADV2);
/// Classes with which a process that is not followed can affect a watched object.
const FOR_UNFOLLOWED: u64 = ((1 << (IO_LAST + 1)) - 1) & !((1 << IO_BASE) - 1)
    | 1 << table::SOCKETCALL
    | 1 << table::MQ_SEND
    | 1 << table::MQ_RECEIVE
    | 1 << table::FCNTL
    | 1 << table::IOCTL
    | 1 << table::FTRUNCATE
    | 1 << table::FALLOCATE;
/// Calls that open a file by its path, and can empty it.
const OPENS: u64 = 1 << table::OPEN | 1 << table::OPENAT | 1 << table::OPENAT2 | 1 << table::CREAT;

/// Handles a call of the native entry. Returns `false` if it needs the slow path.
#[inline(always)]
pub(crate) fn is_done<H: Hook>(regs: Kptr, task: CurrentTask, class: u32, result: i64) -> bool {
    let tgid = task.tgid();
    let is = |classes: u64| classes >> (class & 63) & 1 == 1;
    if membership::may_be_followed(tgid) {
        if !is(PLAIN) {
            // Programs ask often for the status of a file, and only that of stdout matters.
            return class == table::STAT && regs::native::<0>(regs) as u32 != 1;
        }
        return !capture::is_on()
            && result >= 0
            && (H::ALL_RAN || !is_suspect(regs, task, result))
            && is_booked(regs, task, tgid, class, result);
    }
    let fd = if is(PLAIN) {
        regs::native::<0>(regs) as u32 as i32
    } else if is(OPENS) {
        if class == table::OPENAT && regs::native::<2>(regs) & table::O_TRUNC == 0 {
            return true;
        }
        result as i32
    } else {
        return !is(FOR_UNFOLLOWED);
    };
    !watches::may_lead_to_watched(task.files(), fd)
}

#[inline(always)]
fn is_suspect(regs: Kptr, task: CurrentTask, result: i64) -> bool {
    witness::is_suspect(task, regs::is_rolled_back(regs, result))
}

/// Books a transfer in an existing row. Returns `false` if there is none.
#[inline(always)]
fn is_booked(regs: Kptr, task: CurrentTask, tgid: u32, class: u32, result: i64) -> bool {
    let fd = regs::native::<0>(regs) as u32 as i32;
    let Some(fingerprint) =
        fdlookup::file_of_valid(task.files(), fd).and_then(object::fingerprint_unchecked)
    else {
        return false;
    };
    let reads = READS >> (class & 63) & 1 == 1;
    let direction = if reads { READ } else { WRITE };
    let process = task.process(tgid);
    let Some(found) = ledger::by_inode(FdKey::new(tgid, fd, direction), &process, &fingerprint)
    else {
        return false;
    };
    let requested = if reads { UNKNOWN } else { regs::native::<2>(regs) };
    let adds = if task.is_alone() && !ledger::has_ring() { Adds::Plain } else { Adds::Atomic };
    ledger::apply(found, &Transfer { op: class - IO_BASE, doubt: 0, result, requested }, adds);
    true
}
