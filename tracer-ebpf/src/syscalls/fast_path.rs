//! The short way, which nearly every call of the machine takes: either it is nobody's business, or it is
//! a plain transfer that succeeded and whose row is there already. Everything else goes through
//! [`super::io`] and [`crate::facts`].

use tracer_common::{
    ledger::{FdKey, READ, WRITE},
    op,
};

use super::table::{self, IO_BASE, IO_LAST};
use crate::{
    capture, fdlookup,
    hooks::io_uring as uring,
    kread::Kptr,
    ledger::{self, Adds, Transfer, UNKNOWN},
    membership, object, regs,
    task::CurrentTask,
};

const fn class(op: u32) -> u64 {
    1 << (IO_BASE + op)
}

/// Classes with one fd as the first argument, and with what was asked for as the third or nowhere. Bit n:
/// class n.
const PLAIN: u64 = class(op::WRITE) | class(op::PWRITE64) | READS;
const READS: u64 = class(op::READ)
    | class(op::PREAD64)
    | class(op::READV)
    | class(op::PREADV)
    | class(op::PREADV2);
/// Classes in which the call of a stranger can concern an object under watch.
const FOR_STRANGERS: u64 = ((1 << (IO_LAST + 1)) - 1) & !((1 << IO_BASE) - 1)
    | 1 << table::SOCKETCALL
    | 1 << table::FCNTL
    | 1 << table::IOCTL;

/// Whether a call of the native entry is done with.
#[inline(always)]
pub(crate) fn is_done(regs: Kptr, task: CurrentTask, class: u32, result: i64) -> bool {
    let tgid = task.tgid();
    let is = |classes: u64| classes >> (class & 63) & 1 == 1;
    if membership::may_be_followed(tgid) {
        return !capture::is_on()
            && is(PLAIN)
            && result >= 0
            && is_booked(regs, task, tgid, class, result);
    }
    if !is(PLAIN) {
        return !is(FOR_STRANGERS);
    }
    let fd = regs::native::<0>(regs) as u32 as i32;
    !membership::may_lead_to_watched(task.files(), fd)
}

/// Books a transfer whose row is there.
#[inline(always)]
fn is_booked(regs: Kptr, task: CurrentTask, tgid: u32, class: u32, result: i64) -> bool {
    let fd = regs::native::<0>(regs) as u32 as i32;
    let Some(mark) = fdlookup::file_of_valid(task.files(), fd).and_then(object::quick_mark) else {
        return false;
    };
    let reads = READS >> (class & 63) & 1 == 1;
    let direction = if reads { READ } else { WRITE };
    let process = task.process(tgid);
    let Some(found) = ledger::by_inode(FdKey::new(tgid, fd, direction), &process, &mark) else {
        return false;
    };
    let requested = if reads { UNKNOWN } else { regs::native::<2>(regs) };
    let adds = if task.is_alone() && !uring::is_used() { Adds::Plain } else { Adds::Atomic };
    ledger::apply(found, &Transfer { op: class - IO_BASE, result, requested }, adds);
    true
}
