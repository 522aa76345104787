//! Calls of `bpf(2)` on tables that keep the CPU to their end.
//!
//! While such a call is under way, the kernel skips programs on trace events on that CPU
//! (`bpf_disable_instrumentation`, `include/linux/bpf.h`, and `trace_call_bpf`, `kernel/trace/bpf_trace.c`,
//! Linux 5.10 to 7.2). A traced task that takes the CPU meanwhile would not be counted. So the caller is a
//! real-time task for those moments, a few microseconds each: no ordinary task takes its place.
//!
//! Where that is not allowed nothing is said: what is skipped is counted (`skipped_runs`, Linux 6.7).

use std::cell::Cell;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The lowest priority of `SCHED_FIFO` (`sched(7)`).
const PRIORITY: u8 = 1;

/// Whether this thread may become real-time, and has a reason to: not by default.
#[derive(Debug, Default)]
pub(crate) struct Unpreempted {
    may: Cell<bool>,
}

impl Unpreempted {
    /// For as long as programs are on trace events. Lets this process become real-time once its capabilities are
    /// given up as well (`RLIMIT_RTPRIO`, `getrlimit(2)`); a command that waits to be traced was started before, and
    /// keeps its own limit.
    pub(crate) fn from_now_on() -> Self {
        // Who has a limit of time in real-time would reach it some day, and be killed.
        let may = getrlimit(Resource::Rttime).current.is_none();
        if may {
            let priority = Some(u64::from(PRIORITY));
            let Rlimit { current, maximum } = getrlimit(Resource::Rtprio);
            // No limit is the highest one there is.
            let at_least = |limit: Option<u64>| limit.and_then(|limit| Some(limit).max(priority));
            let limit = Rlimit { current: at_least(current), maximum: at_least(maximum) };
            // Refused, it takes a capability later.
            let _ = setrlimit(Resource::Rtprio, limit);
        }
        Self { may: Cell::new(may) }
    }

    /// Nobody but real-time tasks takes the CPU from this thread until what this gives is dropped.
    pub(crate) fn begin(&self) -> Moment {
        let none = Moment { policy: None };
        if !self.may.get() {
            return none;
        }
        let policy = policy();
        // What is real-time already stays as it is.
        if ![libc::SCHED_OTHER, libc::SCHED_BATCH, libc::SCHED_IDLE]
            .contains(&(policy & !INHERITED))
        {
            return none;
        }
        // Refused once is refused always.
        self.may.set(schedule(libc::SCHED_FIFO | policy & INHERITED, PRIORITY));
        Moment { policy: self.may.get().then_some(policy) }
    }
}

/// Part of a policy: children begin with the ordinary one.
const INHERITED: libc::c_int = libc::SCHED_RESET_ON_FORK;

/// A moment as a real-time task.
#[must_use]
pub(crate) struct Moment {
    /// What the thread goes back to.
    policy: Option<libc::c_int>,
}

impl Drop for Moment {
    fn drop(&mut self) {
        if let Some(policy) = self.policy {
            // Anybody may leave real-time, and nice values are kept meanwhile.
            schedule(policy, 0);
        }
    }
}

/// The policy of the calling thread.
fn policy() -> libc::c_int {
    // SAFETY: takes a number; 0 is the calling thread.
    unsafe { libc::sched_getscheduler(0) }
}

/// Gives the calling thread a policy; whether it may have it.
fn schedule(policy: libc::c_int, priority: u8) -> bool {
    let parameters = libc::sched_param { sched_priority: priority.into() };
    // SAFETY: the parameters live here; 0 is the calling thread.
    unsafe { libc::sched_setscheduler(0, policy, &raw const parameters) == 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_afterwards_what_it_was() {
        for before in [libc::SCHED_OTHER, libc::SCHED_BATCH, libc::SCHED_OTHER | INHERITED] {
            assert!(schedule(before, 0));
            let unpreempted = Unpreempted { may: Cell::new(true) };
            let moment = unpreempted.begin();
            // Not everybody who runs the tests may do it.
            let during = if unpreempted.may.get() { libc::SCHED_FIFO } else { before };
            assert_eq!(policy() & !INHERITED, during & !INHERITED);
            drop(moment);
            assert_eq!(policy(), before);
        }
    }

    #[test]
    fn nothing_changes_where_there_is_no_reason() {
        let before = policy();
        let _moment = Unpreempted::default().begin();
        assert_eq!(policy(), before);
    }
}
