//! A syscall returns: `sys_exit(struct pt_regs *regs, long ret)` (include/trace/events/
//! syscalls.h, Linux 5.10 to 7.2). At this point the registers still contain number and arguments. So
//! one hook sees fd, buffer, length and result together, also for a call that was already blocked when
//! the hook was attached.

use aya_ebpf::{
    helpers::generated::{bpf_get_current_task_btf, bpf_task_pt_regs},
    macros::{btf_tracepoint, tracepoint},
    programs::{BtfTracePointContext, TracePointContext},
};
use tracer_common::{loss::Reason, trace_event};

use crate::{
    facts,
    kread::Kptr,
    ledger, loss as losses, membership, regs,
    syscalls::{SyscallContext, fast_path, io, table},
    task::{self, CurrentTask},
    witness,
};

/// `ENOSYS`: the kernel has no such call.
const ENOSYS: i64 = 38;

/// Entry point, see the module documentation.
#[btf_tracepoint(function = "sys_exit")]
pub(crate) fn sys_exit(ctx: BtfTracePointContext) -> i32 {
    let regs = Kptr(ctx.arg::<u64>(0));
    returned(regs::number(regs), || regs, ctx.arg::<i64>(1));
    0
}

/// Entry point with preemption disabled: the event `raw_syscalls:sys_exit`.
#[tracepoint]
pub(crate) fn sys_exit_event(ctx: TracePointContext) -> u32 {
    let number: u64 = super::event_field::<_, { trace_event::SYS_EXIT_NUMBER }>(&ctx);
    let result: i64 = super::event_field::<_, { trace_event::SYS_EXIT_RESULT }>(&ctx);
    // SAFETY: both only return pointers: to the current task and to its saved registers.
    let regs = || Kptr(unsafe { bpf_task_pt_regs(bpf_get_current_task_btf()) } as u64);
    returned(regs::number_of(number), regs, result);
    0
}

/// A call of the x32 ABI (`__X32_SYSCALL_BIT`, bit 30; arch/x86/include/uapi/asm/unistd.h), which has its own numbers
/// from 512 on and 32-bit structures. A transfer by a target is counted as not covered, unless the kernel has no such
/// calls.
#[inline(never)]
fn x32(number: u64, result: i64) {
    let base = number & !(1 << 30);
    let moves_bytes = base >= table::NUMBERS as u64 || table::is_io(table::classes(base) & 0xff);
    let (_, _, role) = io::caller(task::current_tgid());
    if moves_bytes && result != -ENOSYS && membership::is_target(role) {
        losses::count(Reason::X32NotCovered, 0);
    }
}

#[inline(always)]
fn returned(number: u64, regs: impl Fn() -> Kptr, result: i64) {
    let classes = table::classes(number);
    if classes == 0 {
        if number >> 30 == 1 {
            x32(number, result);
        }
        return;
    }
    if ledger::has_interrupted() {
        // No handler ran and the kernel restarted the call, which has now returned.
        ledger::forget_interrupted(task::current_tid());
    }
    let (task, regs) = (CurrentTask::get(), regs());
    let compat = task.is_compat();
    if !compat && fast_path::is_done(regs, task, classes & 0xff, result) {
        return;
    }
    let class = if compat { classes >> 8 } else { classes & 0xff };
    if class == 0 || !SyscallContext::store(regs, compat, class, result) {
        return;
    }
    let class = witness::correct_call() as u32;
    if table::is_io(class) {
        io::transfer();
    } else {
        facts::observe(class);
    }
}
