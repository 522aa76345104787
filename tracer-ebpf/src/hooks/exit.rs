//! A process ends: `sched_process_exit(struct task_struct *p)` (include/trace/events/sched.h;
//! Linux 6.17 adds `bool group_dead`). Its fds are still open when the hook runs.

use aya_ebpf::{
    macros::{btf_tracepoint, tracepoint},
    programs::{BtfTracePointContext, TracePointContext},
};
use tracer_common::event::{self, NO_COUNT, kind};

use crate::{
    events::emit,
    kernel::{
        atomic::add,
        constants::{
            SIGNAL_EXIT_CODE, SIGNAL_FLAGS, SIGNAL_LIVE, TASK_EXIT_CODE, TASK_FILES,
            TASK_GROUP_LEADER, TASK_SIGNAL, TASK_TGID,
        },
        fdlookup,
        kread::Kptr,
        task::{self, FilesTable},
    },
    ledger,
    maps::slot,
    object, read_ends,
    syscalls::witness,
    targets::membership,
};

/// `SIGNAL_GROUP_EXIT` (`include/linux/sched/signal.h`): the status is in `group_exit_code`.
const SIGNAL_GROUP_EXIT: u32 = 0x0000_0004;

/// Entry point, see the module documentation.
#[btf_tracepoint(function = "sched_process_exit")]
pub(crate) fn process_exit(ctx: BtfTracePointContext) -> i32 {
    let task = Kptr(ctx.arg::<u64>(0));
    let _ = ended(task.typed(&TASK_TGID), task);
    0
}

/// Entry point with preemption disabled: the event `sched:sched_process_exit` of the current task.
#[tracepoint]
pub(crate) fn process_exit_event(_ctx: TracePointContext) -> u32 {
    let _ = ended(task::current_tgid(), task::current());
    0
}

#[inline(always)]
fn ended(tgid: u32, task: Kptr) -> Option<()> {
    let interrupted = ledger::interrupted_write(task::current_tid());
    ledger::forget_interrupted(task::current_tid());
    witness::forget(task::current_tid());
    let entry = membership::entry(tgid)?;
    let written = task::written_by(task);
    // SAFETY: the entry points to a live map value.
    unsafe { add(&raw mut (*entry).written, written) };
    let signal = task.follow(&TASK_SIGNAL)?;
    // `do_exit()` has already removed this thread from the number of live threads.
    if signal.member::<u32, _>(&SIGNAL_LIVE)? != 0 {
        return None;
    }
    let process = task::process_of(task)?;
    let (_, role) = membership::read(tgid, entry);
    let files = task.follow(&TASK_FILES).unwrap_or(Kptr(0));
    read_ends::left(&process, role, files);
    if let Some(record) = emit::start::<event::Exit>(slot::EXIT, kind::EXIT) {
        let exit = &mut record.payload;
        exit.process = process;
        exit.status = status(task, signal).unwrap_or(0);
        exit.role = role;
        exit.comm = task::comm_of(task);
        // SAFETY: the entry points to a live map value.
        (exit.other_bytes, exit.other_calls) =
            unsafe { ((*entry).other_bytes, (*entry).other_calls) };
        exit.interrupted = interrupted;
        // SAFETY: as above.
        (exit.other_failed, exit.other_errno) =
            unsafe { ((*entry).other_failed, (*entry).other_errno) };
        // SAFETY: as above.
        exit.written = if written == NO_COUNT { NO_COUNT } else { unsafe { (*entry).written } };
        describe_exit_fd(files.0, 0);
        describe_exit_fd(files.0, 1);
        describe_exit_fd(files.0, 2);
        record.send(0);
    }
    membership::forget(tgid);
    Some(())
}

/// The status as `wait4(2)` returns it (`wait_task_zombie`, kernel/exit.c).
#[inline(always)]
fn status(task: Kptr, signal: Kptr) -> Option<u32> {
    if signal.member::<u32, _>(&SIGNAL_FLAGS)? & SIGNAL_GROUP_EXIT != 0 {
        signal.member(&SIGNAL_EXIT_CODE)
    } else {
        task.follow(&TASK_GROUP_LEADER)?.member(&TASK_EXIT_CODE)
    }
}

/// Adds fd 0, 1 or 2 to the record in this program's scratch slot. Exported, so that the verifier checks
/// its loop once.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn describe_exit_fd(files: u64, fd: u64) -> u64 {
    let _ = describe(FilesTable::Probed(Kptr(files)), fd as i32);
    0
}

#[inline(always)]
fn describe(files: FilesTable, fd: i32) -> Option<()> {
    let file = fdlookup::file_of(files, fd)?;
    let inode = object::inode_noinline(file)?;
    let state = object::file_state(file)?;
    let (queue, incoming) = (object::written(file, &inode), object::incoming(file, &inode));
    let (size, removed) = (object::file_size(&inode), object::is_removed(&inode));
    let exit = &mut emit::resume::<event::Exit>(slot::EXIT)?.payload;
    let index = match fd {
        0 => 0,
        1 => 1,
        _ => 2,
    };
    (exit.stdio[index], exit.sizes[index], exit.removed[index]) = (state, size, removed);
    (exit.queues[index], exit.incoming[index]) = (queue, incoming);
    Some(())
}
