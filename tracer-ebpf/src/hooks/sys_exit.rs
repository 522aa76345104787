//! A syscall returns: `sys_exit(struct pt_regs *regs, long ret)` (include/trace/events/
//! syscalls.h, Linux 5.10 to 7.2). At this point the registers still contain number and arguments. So
//! one hook sees fd, buffer, length and result together, also for a call that was already blocked when
//! the hook was attached.

use aya_ebpf::{
    helpers::generated::{bpf_get_current_task_btf, bpf_task_pt_regs},
    macros::{btf_tracepoint, tracepoint},
    programs::{BtfTracePointContext, TracePointContext},
};
use tracer_common::trace_event;

use crate::{
    events::once,
    kernel::{kread::Kptr, regs},
    syscalls::{
        facts, io,
        returned::{self, Hook},
        table, witness,
    },
};

struct SysExit;

impl Hook for SysExit {
    const ALL_RAN: bool = false;

    #[inline(always)]
    fn counts_call() -> bool {
        once::counts_by_sys_exit()
    }
}

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

#[inline(always)]
fn returned(number: u64, regs: impl Fn() -> Kptr, result: i64) {
    if !returned::is_stored::<SysExit>(number, regs, result) {
        return;
    }
    let class = witness::correct_call() as u32;
    if table::is_io(class) {
        io::transfer();
    } else {
        facts::observe(class);
    }
    once::leave_slow_path();
}
