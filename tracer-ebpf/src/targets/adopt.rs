//! Adopts processes that existed before the hooks were attached, found by the kernel's task iterator.
//!
//! `iter/task` and `iter/task_file` (Linux 5.8, `kernel/bpf/task_iter.c`) visit every task in the kernel. So no
//! process is missed as between two reads of `/proc`, and the same code as in the hooks identifies what an fd
//! points to.

use tracer_common::{
    event::{self, NO_COUNT, kind},
    id::ProcessId,
    process::{ProcessEntry, ROLE_TARGET},
};

use crate::{
    events::emit,
    kernel::{
        atomic::add,
        constants::{
            AWAITS_PROCESSES, FOLLOW_CHILDREN, SIGNAL_THREADS, TASK_FILES, TASK_PID, TASK_SIGNAL,
            TASK_TGID,
        },
        kread::Kptr,
        task,
    },
    maps::{ADOPTED, AWAITED, PROCESSES, slot},
    object,
    targets::{cgroup, membership, watches},
};

/// Adopts the process of `task` if it is a target that is not followed yet.
#[inline(always)]
pub(crate) fn consider(task: Kptr) -> Option<()> {
    let tgid: u32 = task.member(&TASK_TGID)?;
    if task.member::<u32, _>(&TASK_PID)? != tgid || task::is_kernel_thread(task) {
        return None;
    }
    // tracer itself is never a target, even under a traced shell. Its writes count like those of any process
    // outside the target.
    if membership::is_tracer(tgid) {
        return None;
    }
    let process = task::process_of(task)?;
    // A process named by the user has an entry without start time. Any other process is adopted if it becomes
    // a target now.
    let named = PROCESSES.get_ptr_mut(tgid).and_then(|entry| complete(entry, &process, task));
    if named.is_none() && !(is_target(task) && membership::follow(process, ROLE_TARGET, task)) {
        return None;
    }
    if let Some(count) = ADOPTED.get_ptr_mut(0) {
        // SAFETY: points to a live map value.
        unsafe { add(count, 1) };
    }
    announce(slot::ADOPT, kind::ADOPTED, task, ROLE_TARGET);
    Some(())
}

/// Sets the start time of an entry that user space inserted. Returns `None` if it is already set.
#[inline(always)]
fn complete(entry: *mut ProcessEntry, process: &ProcessId, task: Kptr) -> Option<()> {
    // SAFETY: points to a live map value; only this iterator sets the field.
    unsafe {
        if (*entry).start_ns != 0 {
            return None;
        }
        (*entry).start_ns = process.start_ns;
    }
    membership::store_leader(process.tgid, task);
    Some(())
}

#[inline(always)]
fn is_target(task: Kptr) -> bool {
    let parent = task::parent_of(task);
    // A child of tracer that the user did not name is one of its helper processes.
    if cgroup::contains(task) && !parent.is_some_and(|parent| membership::is_tracer(parent.tgid)) {
        return true;
    }
    if task.member::<u32, _>(&TASK_TGID).is_some_and(is_awaited) {
        return true;
    }
    if FOLLOW_CHILDREN.load() == 0 {
        return false;
    }
    let Some(parent) = parent else { return false };
    let Some(entry) = membership::entry(parent.tgid) else { return false };
    membership::is_target(membership::read(parent.tgid, entry).1)
}

/// Watches a task's stdio and sends an event that describes the process.
#[inline(always)]
pub(crate) fn announce(slot: u32, kind: u32, task: Kptr, role: u32) {
    let Some(process) = task::process_of(task) else { return };
    let files = task.follow(&TASK_FILES).unwrap_or(Kptr(0));
    watches::watch_stdio(slot, &process, files);
    if let Some(record) = emit::start::<event::Image>(slot, kind) {
        describe(&mut record.payload, task, role);
        record.send(0);
    }
}

/// Bytes that the kernel has counted for a process with one thread so far.
#[inline(always)]
fn written_before(leader: Kptr) -> u64 {
    let threads = leader.follow(&TASK_SIGNAL).and_then(|signal| signal.member(&SIGNAL_THREADS));
    if threads == Some(1_u32) { task::written_by(leader) } else { NO_COUNT }
}

/// Describes a process and its stdio, without argv, which is in its memory.
#[inline(always)]
pub(crate) fn describe(image: &mut event::Image, task: Kptr, role: u32) {
    image.process = task::process_of(task).unwrap_or_default();
    image.parent = task::parent_of(task).unwrap_or_default();
    image.ns_pid = task::ns_tgid(task).unwrap_or(0);
    image.role = role;
    image.comm = task::comm_of(task);
    image.written = written_before(task);
    image.cgroup = cgroup::id_of(task);
    let files = task.follow(&TASK_FILES).unwrap_or(Kptr(0));
    object::fd_state(files, 0, &mut image.stdio[0]);
    object::fd_state(files, 1, &mut image.stdio[1]);
    object::fd_state(files, 2, &mut image.stdio[2]);
}

/// Whether user space has found the process while the trace runs, and awaits it: it becomes a target when it executes a
/// program, since what it did before is not the program's. It is not awaited any more when this has returned.
#[inline(always)]
pub(crate) fn is_awaited(tgid: u32) -> bool {
    AWAITS_PROCESSES.load() == 1 && AWAITED.remove(tgid).is_ok()
}
