//! The kernel's function of a system call returns: `long __x64_sys_write(const struct pt_regs *regs)` and its kin
//! (`arch/x86/include/asm/syscall_wrapper.h`, and that of arm64). The registers are those that `sys_exit` has. Other
//! calls pay nothing, and a call that seccomp or a tracer has suppressed does not enter the function.
//!
//! The loader loads [`call_returned`] once for each function. It is small, because the kernel verifies it each time:
//! the slow path is a program of its own. From Linux 6.12 on, both must be for functions with the same prototype, and there
//! are two: the types of functions that a kernel may be built without come from `kernel/sys_ni.c`, where the
//! parameter has another name. So there is a second pair of program and map, [`call_returned_too`].

use aya_ebpf::{macros::fexit, maps::ProgramArray, programs::FExitContext};
use tracer_common::loss::Reason;

use crate::{
    events::{loss as losses, once},
    kernel::{kread::Kptr, regs},
    maps::{FEXIT_SLOW_PATH, FEXIT_SLOW_PATH_TOO},
    syscalls::{
        SyscallContext, facts, io,
        returned::{self, Hook},
        table,
    },
};

struct Fexit;

impl Hook for Fexit {
    const ALL_RAN: bool = true;

    #[inline(always)]
    fn counts_call() -> bool {
        once::counts_by_fexit()
    }
}

/// Entry point, see the module documentation.
#[fexit]
pub(crate) fn call_returned(ctx: FExitContext) -> i32 {
    returned(&ctx, &FEXIT_SLOW_PATH)
}

/// The same, for functions with another prototype.
#[fexit]
pub(crate) fn call_returned_too(ctx: FExitContext) -> i32 {
    returned(&ctx, &FEXIT_SLOW_PATH_TOO)
}

#[inline(always)]
fn returned(ctx: &FExitContext, slow_path: &ProgramArray) -> i32 {
    let regs = Kptr(ctx.arg::<u64>(0));
    let number = regs::number(regs);
    if returned::is_stored::<Fexit>(number, || regs, ctx.arg::<i64>(1)) {
        // SAFETY: the map has one entry, and both programs have the same kind of context.
        unsafe { slow_path.tail_call(ctx, 0) };
        // Only without that entry the call returns.
        once::leave_slow_path();
        losses::count(Reason::SkippedRuns, 0);
    }
    0
}

/// Continues [`call_returned`] with the stored call.
#[fexit]
pub(crate) fn call_returned_slow(_: FExitContext) -> i32 {
    let Some(call) = SyscallContext::current() else { return 0 };
    let class = call.class;
    if table::is_io(class) {
        io::transfer();
    } else {
        facts::observe(class);
    }
    once::leave_slow_path();
    0
}
