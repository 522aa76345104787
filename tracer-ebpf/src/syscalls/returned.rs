//! What every hook does with a call that has returned, up to the slow path.

use tracer_common::loss::Reason;

use super::{SyscallContext, fast_path, io, table};
use crate::{
    events::{loss as losses, once},
    kernel::{
        kread::Kptr,
        task::{self, CurrentTask},
    },
    ledger,
    targets::membership,
};

/// How a hook learns that a call has returned.
pub(crate) trait Hook {
    /// Whether the kernel has run every call that this hook sees.
    const ALL_RAN: bool;

    /// Whether this hook is the one that counts the current call ([`once`]).
    fn counts_call() -> bool;
}

/// A call of the x32 ABI (`__X32_SYSCALL_BIT`, bit 30; arch/x86/include/uapi/asm/unistd.h), which has its own numbers
/// from 512 on and 32-bit structures. A transfer by a target is counted as not covered; a call that failed moved nothing
/// (a kernel without such calls answers `ENOSYS`, seccomp `EPERM`).
#[inline(never)]
fn x32(number: u64, result: i64) {
    let base = number & !(1 << 30);
    let moves_bytes = base >= table::NUMBERS as u64 || table::is_io(table::classes(base) & 0xff);
    let (_, _, role) = io::caller(task::current_tgid());
    if moves_bytes && result >= 0 && membership::is_target(role) {
        losses::count(Reason::X32NotCovered, 0);
    }
}

/// Handles a call. Returns `true` if it is stored for the slow path, which must end with [`once::leave_slow_path`].
#[inline(always)]
pub(crate) fn is_stored<H: Hook>(number: u64, regs: impl Fn() -> Kptr, result: i64) -> bool {
    let classes = table::classes(number);
    if classes == 0 {
        if number >> 30 == 1 && H::counts_call() {
            x32(number, result);
        }
        return false;
    }
    if !H::counts_call() {
        return false;
    }
    if ledger::has_interrupted() {
        // No handler ran and the kernel restarted the call, which has now returned.
        ledger::forget_interrupted(task::current_tid());
    }
    let (task, regs) = (CurrentTask::get(), regs());
    let compat = task.is_compat();
    if !compat && fast_path::is_done::<H>(regs, task, classes & 0xff, result) {
        return false;
    }
    let class = if compat { classes >> 8 } else { classes & 0xff };
    if class == 0 || !once::enter_slow_path() {
        return false;
    }
    let is_stored = SyscallContext::store(regs, compat, class, result);
    if !is_stored {
        once::leave_slow_path();
    }
    is_stored
}
