//! Calls of `bpf(2)` on tables that keep the CPU to their end.
//!
//! While such a call is under way, the kernel skips programs on trace events on that CPU
//! (`bpf_disable_instrumentation`, `include/linux/bpf.h`, and `trace_call_bpf`, `kernel/trace/bpf_trace.c`,
//! Linux 5.10 to 7.2). A traced task that takes the CPU meanwhile would not be counted. So the caller is a
//! real-time task for those moments, less than a microsecond each: no ordinary task takes its place.
//!
//! Where that is not allowed nothing is said: what is skipped is counted (`skipped_runs`).

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::hooks::Manner;

/// The lowest priority of `SCHED_FIFO` (`sched(7)`).
const PRIORITY: u8 = 1;

/// Lets this process become real-time for moments, also once its capabilities are given up (`RLIMIT_RTPRIO`,
/// `getrlimit(2)`). A command that waits to be traced was started before, and keeps its own limit.
pub(super) fn allow(manner: Manner) {
    let priority = Some(u64::from(PRIORITY));
    let Rlimit { current, maximum } = getrlimit(Resource::Rtprio);
    // No limit is the highest one there is.
    let at_least = |limit: Option<u64>| limit.and_then(|limit| Some(limit).max(priority));
    if manner == Manner::Undisturbed {
        let limit = Rlimit { current: at_least(current), maximum: at_least(maximum) };
        // Without the right to, the calls stay as they are.
        let _ = setrlimit(Resource::Rtprio, limit);
    }
}

/// Nobody but real-time tasks takes the CPU from this thread until it is dropped.
#[must_use]
pub(super) struct Unpreempted {
    /// What the thread goes back to.
    policy: Option<libc::c_int>,
}

impl Unpreempted {
    /// Begins, where programs are on trace events.
    pub(super) fn begin(manner: Manner) -> Self {
        let is_needed = manner == Manner::Undisturbed;
        // SAFETY: takes a number; 0 is the calling thread.
        let policy = is_needed.then(|| unsafe { libc::sched_getscheduler(0) });
        let ordinary = [libc::SCHED_OTHER, libc::SCHED_BATCH, libc::SCHED_IDLE];
        // What is real-time already stays as it is.
        let policy = policy.filter(|policy| ordinary.contains(policy));
        Self { policy: policy.filter(|_| schedule(libc::SCHED_FIFO, PRIORITY)) }
    }
}

impl Drop for Unpreempted {
    fn drop(&mut self) {
        if let Some(policy) = self.policy {
            // Anybody may leave real-time, and nice values are kept meanwhile.
            schedule(policy, 0);
        }
    }
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

    fn policy() -> libc::c_int {
        // SAFETY: takes a number; 0 is the calling thread.
        unsafe { libc::sched_getscheduler(0) }
    }

    #[test]
    fn a_thread_is_afterwards_what_it_was() {
        for before in [libc::SCHED_OTHER, libc::SCHED_BATCH] {
            assert!(schedule(before, 0));
            let held = Unpreempted::begin(Manner::Undisturbed);
            // Not everybody who runs the tests may do it.
            assert_eq!(policy(), if held.policy.is_some() { libc::SCHED_FIFO } else { before });
            drop(held);
            assert_eq!(policy(), before);
        }
    }

    #[test]
    fn nothing_changes_where_programs_are_on_typed_tracepoints() {
        let _held = Unpreempted::begin(Manner::Typed);
        assert_eq!(policy(), libc::SCHED_OTHER);
    }
}
