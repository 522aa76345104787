//! Runs map calls of bpf(2) as `SCHED_FIFO`.
//!
//! While such a call runs, the kernel skips programs on trace events on that CPU (`bpf_disable_instrumentation`,
//! `include/linux/bpf.h`, and `trace_call_bpf`, `kernel/trace/bpf_trace.c`, Linux 5.10 to 7.2). If a traced task
//! preempts the call, its system calls are not counted. So the calling thread is a real-time task for each call,
//! which takes a few microseconds: ordinary tasks cannot preempt it.
//!
//! If the thread may not become a real-time task, the calls run as they are, and the kernel counts the skipped runs
//! (`skipped_runs`, Linux 6.7).

use std::cell::Cell;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The lowest priority of `SCHED_FIFO` (`sched(7)`).
const PRIORITY: u8 = 1;

/// Whether the calling thread becomes a real-time task. Off by default.
#[derive(Debug, Default)]
pub(crate) struct RealTime {
    is_enabled: Cell<bool>,
}

impl RealTime {
    /// On, for attach modes that use trace events. Raises `RLIMIT_RTPRIO` (`getrlimit(2)`), so that the thread can
    /// still become a real-time task after it has given up its capabilities. A command that tracer starts was forked
    /// before, and keeps its own limit.
    pub(crate) fn enabled() -> Self {
        // The kernel kills a process that exceeds its limit of real-time CPU time.
        let is_enabled = getrlimit(Resource::Rttime).current.is_none();
        if is_enabled {
            let priority = Some(u64::from(PRIORITY));
            let Rlimit { current, maximum } = getrlimit(Resource::Rtprio);
            // `None` means unlimited.
            let at_least = |limit: Option<u64>| limit.and_then(|limit| Some(limit).max(priority));
            let limit = Rlimit { current: at_least(current), maximum: at_least(maximum) };
            // If this fails, becoming a real-time task takes a capability.
            let _ = setrlimit(Resource::Rtprio, limit);
        }
        Self { is_enabled: Cell::new(is_enabled) }
    }

    /// Makes the calling thread a real-time task until the result is dropped.
    pub(crate) fn enter(&self) -> Guard {
        let none = Guard { policy: None };
        if !self.is_enabled.get() {
            return none;
        }
        let policy = policy();
        // A thread that is a real-time task already stays as it is.
        if ![libc::SCHED_OTHER, libc::SCHED_BATCH, libc::SCHED_IDLE]
            .contains(&(policy & !INHERITED))
        {
            return none;
        }
        // After one failure there is no second try.
        self.is_enabled.set(schedule(libc::SCHED_FIFO | policy & INHERITED, PRIORITY));
        Guard { policy: self.is_enabled.get().then_some(policy) }
    }
}

/// Flag in a policy: child processes start with the ordinary policy.
const INHERITED: libc::c_int = libc::SCHED_RESET_ON_FORK;

/// The time during which the thread is a real-time task.
#[must_use]
pub(crate) struct Guard {
    /// The policy to return to; `None` if nothing was changed.
    policy: Option<libc::c_int>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(policy) = self.policy {
            // Leaving a real-time policy needs no privilege. The kernel keeps the nice value.
            schedule(policy, 0);
        }
    }
}

/// The policy of the calling thread.
fn policy() -> libc::c_int {
    // SAFETY: the call takes a number; 0 is the calling thread.
    unsafe { libc::sched_getscheduler(0) }
}

/// Sets the policy of the calling thread. Returns whether that worked.
fn schedule(policy: libc::c_int, priority: u8) -> bool {
    let parameters = libc::sched_param { sched_priority: priority.into() };
    // SAFETY: the parameters live until the call returns; 0 is the calling thread.
    unsafe { libc::sched_setscheduler(0, policy, &raw const parameters) == 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_afterwards_what_it_was() {
        for before in [libc::SCHED_OTHER, libc::SCHED_BATCH, libc::SCHED_OTHER | INHERITED] {
            assert!(schedule(before, 0));
            let real_time = RealTime { is_enabled: Cell::new(true) };
            let guard = real_time.enter();
            // Tests may run without the privilege.
            let during = if real_time.is_enabled.get() { libc::SCHED_FIFO } else { before };
            assert_eq!(policy() & !INHERITED, during & !INHERITED);
            drop(guard);
            assert_eq!(policy(), before);
        }
    }

    #[test]
    fn nothing_changes_where_there_is_no_reason() {
        let before = policy();
        let _guard = RealTime::default().enter();
        assert_eq!(policy(), before);
    }
}
