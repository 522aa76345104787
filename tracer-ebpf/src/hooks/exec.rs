//! A process replaces its image: `sched_process_exec(struct task_struct *p, pid_t old_pid, struct linux_binprm *)`
//! (include/trace/events/sched.h, Linux 5.10 to 7.2). The new arguments are already in memory.

use aya_ebpf::{
    EbpfContext,
    helpers::generated::bpf_probe_read_user,
    macros::{btf_tracepoint, tracepoint},
    programs::{BtfTracePointContext, TracePointContext},
};
use tracer_common::{
    event::{self, TEXT, kind},
    limits,
    process::ROLE_TARGET,
};

use crate::{
    events::emit,
    kernel::{
        constants::{DEBUG_LOG, MM_ARG_END, MM_ARG_START, TASK_FILES, TASK_MM},
        kread::{Kptr, bounded},
        task,
    },
    maps::slot,
    read_ends,
    targets::{adopt, cgroup, membership, watches},
};

/// Entry point, see the module documentation.
#[btf_tracepoint(function = "sched_process_exec")]
pub(crate) fn process_exec(ctx: BtfTracePointContext) -> i32 {
    log(&ctx, replaced(Kptr(ctx.arg::<u64>(0))));
    0
}

/// Entry point with preemption disabled: the event `sched:sched_process_exec` of the current task.
#[tracepoint]
pub(crate) fn process_exec_event(ctx: TracePointContext) -> u32 {
    log(&ctx, replaced(task::current()));
    0
}

#[inline(always)]
fn log(ctx: &impl EbpfContext, followed: Option<()>) {
    if DEBUG_LOG.load() == 1 && followed.is_some() {
        aya_log_ebpf::debug!(ctx, "exec: pid {}", task::current_tgid());
    }
}

#[inline(always)]
fn replaced(task: Kptr) -> Option<()> {
    let process = task::process_of(task)?;
    let role = match membership::entry(process.tgid) {
        Some(entry) => {
            // Resets the budget of facts, because the search along PATH may have used it up.
            // SAFETY: the entry points to a live map value.
            unsafe { ((*entry).facts, (*entry).marks) = (0, 0) };
            let (_, role) = membership::read(process.tgid, entry);
            if !membership::is_target(role) && starts_target(process.tgid, task) {
                membership::follow(process, ROLE_TARGET, task);
            }
            // The thread that called `execve` is now the leader.
            membership::store_leader(process.tgid, task);
            membership::read(process.tgid, entry).1
        }
        None if starts_target(process.tgid, task)
            && membership::follow(process, ROLE_TARGET, task) =>
        {
            ROLE_TARGET
        }
        None => return None,
    };
    read_ends::check_ends(&process, role, 0);
    let files = task.follow(&TASK_FILES)?;
    if membership::is_target(role) {
        watches::watch_stdio(slot::EXEC, &process, files);
    }
    let record = emit::start::<event::Image>(slot::EXEC, kind::EXEC)?;
    adopt::describe(&mut record.payload, task, role);
    let (length, total) = arguments(task, &mut record.text).unwrap_or((0, 0));
    record.payload.argv_len = total;
    record.send(length);
    Some(())
}

/// Whether a process that is no target becomes one with this image.
#[inline(always)]
fn starts_target(tgid: u32, task: Kptr) -> bool {
    adopt::is_awaited(tgid) || cgroup::contains(task)
}

/// Copies argv from memory (NUL-terminated strings). Returns the number of bytes copied and the length of argv.
#[inline(always)]
fn arguments(task: Kptr, text: &mut [u8; TEXT]) -> Option<(u32, u32)> {
    let mm = task.follow(&TASK_MM)?;
    let start: u64 = mm.member(&MM_ARG_START)?;
    let total = mm.member::<u64, _>(&MM_ARG_END)?.wrapping_sub(start);
    let length = if total > limits::ARGV as u64 { limits::ARGV as u64 } else { total };
    let length = bounded(length as u32 & (2 * limits::ARGV as u32 - 1));
    if length as usize > limits::ARGV {
        return None;
    }
    // SAFETY: `length` is at most ARGV bytes, which is the size of the text.
    let failed =
        unsafe { bpf_probe_read_user(text.as_mut_ptr().cast(), length, start as *const _) };
    (failed == 0).then_some((length, total as u32))
}

const _: () = assert!(limits::ARGV <= TEXT);
