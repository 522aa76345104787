//! Every syscall's return: `sys_exit(struct pt_regs *regs, long ret)` (include/trace/events/
//! syscalls.h, Linux 5.10 to 7.2). At this point the registers still hold number and arguments, so
//! one hook sees fd, buffer, length and result together, and also a call that was already blocked
//! when the hook was attached.

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};

use tracer_common::loss;

use crate::{
    facts,
    kread::Kptr,
    loss as losses, membership, regs,
    syscalls::{Returned, io, plain, table},
    task::{self, CurrentTask},
};

/// See the module.
#[btf_tracepoint(function = "sys_exit")]
pub(crate) fn sys_exit(ctx: BtfTracePointContext) -> i32 {
    returned(Kptr(ctx.arg::<u64>(0)), ctx.arg::<i64>(1));
    0
}

/// The x32 ABI (`__X32_SYSCALL_BIT`, bit 30; arch/x86/include/uapi/asm/unistd.h) has its own numbers
/// from 512 on and 32-bit structures: a transfer by a target is reported, not guessed.
#[inline(never)]
fn x32(number: u64) {
    let base = number & !(1 << 30);
    let moves_bytes = base >= table::NUMBERS as u64 || table::is_io(table::classes(base) & 0xff);
    let (_, _, role) = io::caller(task::current_tgid());
    if moves_bytes && membership::is_target(role) {
        losses::count(loss::X32_NOT_COVERED, 0);
    }
}

#[inline(always)]
fn returned(regs: Kptr, result: i64) {
    let number = regs::number(regs);
    let classes = table::classes(number);
    if classes == 0 {
        if number >> 30 == 1 {
            x32(number);
        }
        return;
    }
    let task = CurrentTask::get();
    let compat = task.is_compat();
    if !compat && plain::is_done(regs, task, classes & 0xff, result) {
        return;
    }
    let class = if compat { classes >> 8 } else { classes & 0xff };
    if class == 0 || !Returned::note(regs, compat, class, result) {
        return;
    }
    if table::is_io(class) {
        io::transfer();
    } else {
        facts::observe(class);
    }
}
