//! A signal is delivered: `signal_deliver(int sig, struct kernel_siginfo *info, struct
//! k_sigaction *ka)` (include/trace/events/signal.h, Linux 5.10 to 7.2).
//!
//! A call interrupted by a signal returns an internal restart code at `sys_exit`. The caller only
//! sees `EINTR` when the handler was installed without `SA_RESTART`, which this hook can check.

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};

use crate::{
    kernel::{
        constants::{KSIG_FLAGS, KSIG_HANDLER},
        kread::Kptr,
        task,
    },
    ledger,
    maps::INTERRUPTED,
};

/// `SA_RESTART` (`include/uapi/asm-generic/signal-defs.h`).
const SA_RESTART: u64 = 0x1000_0000;

/// Entry point, see the module documentation.
#[btf_tracepoint(function = "signal_deliver")]
pub(crate) fn signal_delivered(ctx: BtfTracePointContext) -> i32 {
    let _ = delivered(Kptr(ctx.arg::<u64>(2)));
    0
}

#[inline(always)]
fn delivered(action: Kptr) -> Option<()> {
    if !ledger::has_interrupted() {
        return None;
    }
    let tid = task::current_tid();
    // SAFETY: the map is created without preallocation; only this thread uses its own entry.
    let key = *unsafe { INTERRUPTED.get(tid) }?;
    let handler: u64 = action.member(&KSIG_HANDLER)?;
    let flags: u64 = action.member(&KSIG_FLAGS)?;
    // SIG_DFL (0) terminates or stops the process, SIG_IGN (1) restarts the call.
    if handler > 1 {
        ledger::forget_interrupted(tid);
        if flags & SA_RESTART == 0 && task::process_of(task::current())? == key.process {
            ledger::book_interrupt(&key);
        }
    }
    Some(())
}
