//! Each call is counted once, also while two kinds of programs see it return.
//!
//! A function that is being executed when its fexit program is attached returns without that program. So `sys_exit` stays
//! attached beside the fexit programs for a **transition**: until the calls that began before have returned. In that time
//! an fexit program notes each call that it counts, and `sys_exit`, which the same call of the same thread reaches
//! next, removes the note and does nothing. A call without note is one that began before: `sys_exit` counts it.
//!
//! From Linux 5.15 on, a preemptible kernel can also preempt an fexit program. Two things follow. The kernel skips the
//! preempted program for other tasks of that CPU; it counts that (`recursion_misses`), and the loader adds it to the losses.
//! And a program of another function may run, with the same per-CPU memory: the second one in the slow path
//! gives its call up and counts that loss. The loader chooses fexit by itself only where neither can happen.

use tracer_common::loss::Reason;

use crate::{
    events::loss as losses,
    kernel::{atomic::add32, constants::FEXIT, task},
    maps::{COUNTED_CALLS, IN_SLOW_PATH, OLD_CALLS, TRANSITION},
};

/// Values of [`TRANSITION`], which user space sets: the fexit programs count all calls, or `sys_exit` some of them, or
/// the fexit programs have stopped.
mod phase {
    pub(super) const OFF: u32 = 0;
    pub(super) const TRANSITION: u32 = 1;
}

#[inline(always)]
fn phase() -> u32 {
    // SAFETY: an aligned load of an integer that user space sets.
    TRANSITION.get_ptr(0).map_or(phase::OFF, |phase| unsafe { core::ptr::read_volatile(phase) })
}

/// Whether an fexit program counts the current call; notes that it does. If it cannot be noted, `sys_exit` counts the call.
#[inline(always)]
pub(crate) fn counts_by_fexit() -> bool {
    match phase() {
        phase::OFF => true,
        phase::TRANSITION => COUNTED_CALLS.insert(task::current_tid(), 1u32, 0).is_ok(),
        _ => false,
    }
}

/// Whether `sys_exit` counts the current call: no fexit program has done so.
#[inline(always)]
pub(crate) fn counts_by_sys_exit() -> bool {
    if FEXIT.load() == 0 || phase() != phase::TRANSITION {
        return true;
    }
    let tid = task::current_tid();
    let _ = OLD_CALLS.remove(tid);
    COUNTED_CALLS.remove(tid).is_err()
}

/// Whether this program has the slow path's memory of this CPU for itself until [`leave_slow_path`]. If not, the call is
/// counted as lost.
#[inline(always)]
pub(crate) fn enter_slow_path() -> bool {
    if FEXIT.load() == 0 {
        return true;
    }
    let Some(users) = IN_SLOW_PATH.get_ptr_mut(0) else { return false };
    // SAFETY: points to this CPU's live map value. Both of two programs that come here at once may read 2 and give up.
    let is_alone = unsafe {
        add32(users, 1);
        core::ptr::read_volatile(users) == 1
    };
    if !is_alone {
        leave_slow_path();
        losses::count(Reason::SkippedRuns, 0);
    }
    is_alone
}

/// Ends what [`enter_slow_path`] began.
#[inline(always)]
pub(crate) fn leave_slow_path() {
    if FEXIT.load() == 0 {
        return;
    }
    if let Some(users) = IN_SLOW_PATH.get_ptr_mut(0) {
        // SAFETY: as in `enter_slow_path`.
        unsafe { add32(users, u32::MAX) };
    }
}
