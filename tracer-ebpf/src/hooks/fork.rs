//! A process is created: `sched_process_fork(struct task_struct *parent, struct task_struct *child)`
//! (include/trace/events/sched.h, Linux 5.10 to 7.2). The child has not run yet, so none of its
//! calls is missed.

use aya_ebpf::{
    helpers::generated::bpf_get_current_task_btf, macros::btf_tracepoint,
    programs::BtfTracePointContext,
};
use tracer_common::{
    event::{self, kind},
    process::{ROLE_TARGET, mark},
};

use crate::{
    events::emit,
    kernel::{
        constants::{
            Constant, DEBUG_LOG, FOLLOW_CHILDREN, TASK_FILES, TASK_MM, TASK_REAL_PARENT, TASK_TGID,
        },
        kread::Kptr,
        task,
    },
    maps::{ADOPTING, slot},
    targets::{adopt, cgroup, membership},
};

/// Number of ancestors checked while existing processes are being adopted.
const GENERATIONS: u32 = 16;

/// Entry point, see the module documentation.
#[btf_tracepoint(function = "sched_process_fork")]
pub(crate) fn process_fork(ctx: BtfTracePointContext) -> i32 {
    inherit_and_log(&ctx, Kptr(ctx.arg::<u64>(0)), Kptr(ctx.arg::<u64>(1)));
    0
}

/// Entry point with preemption disabled: `sched_wakeup_new(struct task_struct *p)`. The parent runs it with the
/// child's run queue locked (`wake_up_new_task`, kernel/sched/core.c). The trace event of the fork does not provide
/// the child's task.
#[btf_tracepoint(function = "sched_wakeup_new")]
pub(crate) fn process_fork_wakeup(ctx: BtfTracePointContext) -> i32 {
    // SAFETY: takes no argument and returns the running task.
    let parent = Kptr(unsafe { bpf_get_current_task_btf() } as u64);
    inherit_and_log(&ctx, parent, Kptr(ctx.arg::<u64>(0)));
    0
}

#[inline(always)]
fn inherit_and_log(ctx: &BtfTracePointContext, parent: Kptr, child: Kptr) {
    let newcomer = inherit(parent, child);
    if newcomer == STRANGERS_CHILD {
        // `CLONE_INTO_CGROUP` (clone(2)), for example: no event has described what the child inherits.
        adopt::announce(slot::FORK, kind::ADOPTED, child, ROLE_TARGET);
    }
    if DEBUG_LOG.load() == 1 && newcomer != 0 {
        aya_log_ebpf::debug!(ctx, "fork: following pid {}", child.typed::<u32, _>(&TASK_TGID));
    }
}

/// What [`inherit`] returns of a child that it follows now.
const TARGETS_CHILD: u32 = 1;
const STRANGERS_CHILD: u32 = 2;

/// Follows a new process that is a target; otherwise returns 0. Not inlined: its stack frame is free again before the
/// child is described.
#[inline(never)]
fn inherit(parent: Kptr, child: Kptr) -> u32 {
    become_target(parent, child).unwrap_or(0)
}

#[inline(always)]
fn become_target(parent: Kptr, child: Kptr) -> Option<u32> {
    let parent_tgid: u32 = parent.typed(&TASK_TGID);
    let child_tgid: u32 = child.typed(&TASK_TGID);
    // A new thread belongs to an existing process, and its role is already known.
    if parent_tgid == child_tgid {
        return None;
    }
    mark_shared(parent, parent_tgid, child);
    if !is_descendant(parent, parent_tgid) && !cgroup::contains(child) {
        return None;
    }
    let process = task::process_of(child)?;
    if !membership::follow(process, ROLE_TARGET, child) {
        return None;
    }
    if is_same(&TASK_FILES, parent, child)
        && let Some(entry) = membership::entry(child_tgid)
    {
        membership::mark(entry, mark::SHARES_FILES);
    }
    let record = emit::start::<event::Fork>(slot::FORK, kind::FORK)?;
    record.payload = event::Fork {
        parent: task::process_of(parent).unwrap_or_default(),
        child: process,
        ns_pid: task::ns_tgid(child).unwrap_or(0),
        role: ROLE_TARGET,
        comm: task::comm_of(child),
    };
    record.send(0);
    Some(if is_target(parent_tgid) { TARGETS_CHILD } else { STRANGERS_CHILD })
}

/// Marks a followed process whose new child has the same memory or the same fds. The child is marked when it is followed.
#[inline(always)]
fn mark_shared(parent: Kptr, parent_tgid: u32, child: Kptr) {
    if !membership::may_be_followed(parent_tgid) {
        return;
    }
    let memory = if is_same(&TASK_MM, parent, child) { mark::SHARES_MEMORY } else { 0 };
    let files = if is_same(&TASK_FILES, parent, child) { mark::SHARES_FILES } else { 0 };
    if memory | files != 0
        && let Some(entry) = membership::entry(parent_tgid)
    {
        membership::mark(entry, memory | files);
    }
}

/// Whether two tasks have the same of something.
#[inline(always)]
fn is_same<const N: u32>(member: &Constant<N>, one: Kptr, other: Kptr) -> bool {
    other
        .follow(member)
        .is_some_and(|of_other| one.follow(member).is_some_and(|of_one| of_one.0 == of_other.0))
}

/// Whether a child of `parent` becomes a target because its parent is one.
#[inline(always)]
fn is_descendant(parent: Kptr, parent_tgid: u32) -> bool {
    FOLLOW_CHILDREN.load() == 1 && (is_target(parent_tgid) || has_target_ancestor(parent))
}

#[inline(always)]
fn is_target(tgid: u32) -> bool {
    membership::entry(tgid)
        .is_some_and(|entry| membership::is_target(membership::read(tgid, entry).1))
}

/// Whether an ancestor of `parent` is a target. While existing processes are being adopted, `parent` itself may
/// not be adopted yet.
#[inline(always)]
fn has_target_ancestor(parent: Kptr) -> bool {
    if ADOPTING.get(0).is_none_or(|adopting| *adopting == 0) {
        return false;
    }
    let mut ancestor = parent;
    for _ in 0..GENERATIONS {
        let Some(next) = ancestor.follow(&TASK_REAL_PARENT) else { return false };
        let Some(tgid) = next.member::<u32, _>(&TASK_TGID) else { return false };
        if is_target(tgid) {
            return true;
        }
        if tgid <= 1 {
            return false;
        }
        ancestor = next;
    }
    false
}
