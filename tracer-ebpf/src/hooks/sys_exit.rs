//! Every syscall's return: `sys_exit(struct pt_regs *regs, long ret)` (include/trace/events/
//! syscalls.h, Linux 5.10 to 7.2). At this point the registers still hold number and arguments, so
//! one hook sees fd, buffer, length and result together, and also a call that was already blocked
//! when the hook was attached.

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};

use crate::{
    facts,
    globals::SELF_TGID,
    kread::Kptr,
    membership,
    regs::{self, Args},
    syscalls::{Call, io, table},
    task,
};

/// See the module.
#[btf_tracepoint(function = "sys_exit")]
pub(crate) fn sys_exit(ctx: BtfTracePointContext) -> i32 {
    returned(Kptr(ctx.arg::<u64>(0)), ctx.arg::<i64>(1));
    0
}

#[inline(always)]
fn returned(regs: Kptr, result: i64) {
    let classes = table::classes(regs::number(regs));
    if classes == 0 {
        return;
    }
    let tgid = task::current_tgid();
    if tgid == SELF_TGID.load() {
        return;
    }
    let (entry, process, role) = io::caller(tgid);
    let (files, compat) = task::current_files_and_compat();
    let class = if compat { classes >> 8 } else { classes & 0xff };
    let call = Call { class, args: Args { regs, compat }, result, files, entry, process, role };
    if table::is_io(class) {
        io::transfer(&call);
    } else if let Some(entry) = entry
        && membership::is_target(role)
    {
        facts::observe(&call, entry);
    }
}
