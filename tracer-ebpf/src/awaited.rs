//! Processes that user space has found while the trace runs. Each is about to execute a program, and becomes a target then:
//! what it did before is not the program's.

use crate::{constants::AWAITS_PROCESSES, maps::AWAITED};

/// Whether the process is awaited. It is not any more when this has returned.
#[inline(always)]
pub(crate) fn take(tgid: u32) -> bool {
    AWAITS_PROCESSES.load() == 1 && AWAITED.remove(tgid).is_ok()
}
