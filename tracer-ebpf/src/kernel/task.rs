//! Reads the properties of tasks.

use aya_ebpf::helpers::{
    bpf_get_current_comm, bpf_get_current_pid_tgid,
    generated::{bpf_get_current_task, bpf_get_current_task_btf},
};
use tracer_common::{
    event::NO_COUNT,
    id::ProcessId,
    limits,
    offsets::MISSING,
    process::{ProcessEntry, mark},
};

use crate::kernel::{
    constants::{
        Constant, HAS_TASK_BTF, MM_USERS, PID_LEVEL, PID_NUMBERS, SIGNAL_THREADS, TASK_COMM,
        TASK_FILES, TASK_FLAGS, TASK_GROUP_LEADER, TASK_MM, TASK_PID_STRUCT, TASK_REAL_PARENT,
        TASK_SIGNAL, TASK_START, TASK_TGID, TASK_WRITTEN, TYPE_TASK, UPID_NR, UPID_SIZE,
    },
    kread::{Kptr, has_cast},
    regs,
};

/// `PF_KTHREAD` (`include/linux/sched.h`).
const PF_KTHREAD: u32 = 0x0020_0000;

/// The tgid of the current task in the initial pid namespace.
#[inline(always)]
pub(crate) fn current_tgid() -> u32 {
    (bpf_get_current_pid_tgid() >> 32) as u32
}

/// The tid of the current task.
#[inline(always)]
pub(crate) fn current_tid() -> u32 {
    bpf_get_current_pid_tgid() as u32
}

/// The current task, for probed reads.
#[inline(always)]
pub(crate) fn current() -> Kptr {
    // SAFETY: takes no argument and returns the address of the running task.
    Kptr(unsafe { bpf_get_current_task() })
}

/// The current task, for the cheapest kind of read that this kernel supports.
#[derive(Clone, Copy)]
pub(crate) struct CurrentTask(Kptr);

impl CurrentTask {
    /// Calls the helper. The verifier knows the type of the result of `bpf_get_current_task_btf`.
    #[inline(always)]
    pub(crate) fn get() -> Self {
        if HAS_TASK_BTF.load() == 1 {
            // SAFETY: takes no argument and returns the running task.
            Self(Kptr(unsafe { bpf_get_current_task_btf() } as u64))
        } else {
            Self(current())
        }
    }

    /// Its address.
    #[inline(always)]
    pub(crate) fn address(self) -> Kptr {
        self.0
    }

    /// A member; zero if the kernel's memory cannot be read.
    #[inline(always)]
    pub(crate) fn load<T: Copy + Default, const N: u32>(self, offset: &Constant<N>) -> T {
        if HAS_TASK_BTF.load() == 1 {
            self.0.typed(offset)
        } else {
            self.0.member(offset).unwrap_or_default()
        }
    }

    /// Its tgid in the initial pid namespace.
    #[inline(always)]
    pub(crate) fn tgid(self) -> u32 {
        if HAS_TASK_BTF.load() == 1 { self.0.typed(&TASK_TGID) } else { current_tgid() }
    }

    /// Whether a 32-bit syscall is in progress.
    #[inline(always)]
    pub(crate) fn is_compat(self) -> bool {
        regs::is_compat(self.load(&regs::MODE))
    }

    /// Whether its process has no other thread. Only the thread itself can change that: kernel workers of the
    /// process (io_uring, vhost) are threads too, and the thread itself starts the first one.
    #[inline(always)]
    pub(crate) fn is_alone(self) -> bool {
        HAS_TASK_BTF.load() == 1
            && self.0.typed_follow(&TASK_SIGNAL).typed::<u32, _>(&SIGNAL_THREADS) == 1
    }

    /// Its open files.
    #[inline(always)]
    pub(crate) fn files(self) -> FilesTable {
        if HAS_TASK_BTF.load() == 1 {
            FilesTable::Typed(self.0.typed_follow(&TASK_FILES))
        } else {
            FilesTable::Probed(self.0.follow(&TASK_FILES).unwrap_or(Kptr(0)))
        }
    }

    /// The identity of its process.
    #[inline(always)]
    pub(crate) fn process(self, tgid: u32) -> ProcessId {
        if HAS_TASK_BTF.load() == 1 {
            let leader = self.0.typed_follow(&TASK_GROUP_LEADER);
            ProcessId::new(tgid, leader.typed(&TASK_START))
        } else {
            process_of(self.0).unwrap_or(ProcessId::new(tgid, 0))
        }
    }
}

/// The open file table of the current task, outside the hot path. From Linux 6.2 on, the verifier searches all
/// kernel types several times for each pointer load from a trusted task, which takes milliseconds. A load through
/// a cast avoids this.
#[inline(always)]
pub(crate) fn current_open_files() -> FilesTable {
    if has_cast() {
        return FilesTable::Typed(current().cast(&TYPE_TASK).typed_follow(&TASK_FILES));
    }
    CurrentTask::get().files()
}

/// A `struct files_struct *` and how it may be read.
#[derive(Clone, Copy)]
pub(crate) enum FilesTable {
    /// The verifier knows its type.
    Typed(Kptr),
    /// Only its address is known; needs probed reads.
    Probed(Kptr),
}

/// The address of the current task's open file table, for probed reads; 0 when it has none.
#[inline(always)]
pub(crate) fn current_files() -> Kptr {
    current().follow(&TASK_FILES).unwrap_or(Kptr(0))
}

/// Whether the current task makes a 32-bit syscall.
#[inline(always)]
pub(crate) fn is_current_compat() -> bool {
    CurrentTask::get().is_compat()
}

/// Whether the current task's process has no other thread.
#[inline(always)]
pub(crate) fn is_single_threaded() -> bool {
    current().follow(&TASK_SIGNAL).and_then(|signal| signal.member::<u32, _>(&SIGNAL_THREADS))
        == Some(1)
}

/// Whether something else than the threads of a task's process uses its memory now: another process (`CLONE_VM`), or, for
/// a moment, a process that reads `/proc/PID/cmdline`. Not inlined: old verifiers refuse the compiler's use of the caller's
/// stack.
#[inline(never)]
pub(crate) fn has_other_memory_users(task: Kptr) -> bool {
    let Some(mm) = task.follow(&TASK_MM) else { return false };
    let users: u32 = mm.member(&MM_USERS).unwrap_or(0);
    let Some(signal) = task.follow(&TASK_SIGNAL) else { return false };
    let threads: u32 = signal.member(&SIGNAL_THREADS).unwrap_or(u32::MAX);
    users > threads
}

/// Whether another thread or process can change the memory of the current task. `entry` is that of its process.
#[inline(always)]
pub(crate) fn shares_memory(entry: Option<*mut ProcessEntry>) -> bool {
    // SAFETY: the entry points to a live map value; the field is a plain integer.
    let shared = |entry: *mut ProcessEntry| unsafe { (*entry).marks } & mark::SHARES_MEMORY != 0;
    !is_single_threaded() || has_other_memory_users(current()) && entry.is_none_or(shared)
}

/// Bytes that the kernel has counted as written by a thread (`task_io_accounting`); [`NO_COUNT`] if it counts none.
#[inline(always)]
pub(crate) fn written_by(thread: Kptr) -> u64 {
    if TASK_WRITTEN.load() == MISSING {
        return NO_COUNT;
    }
    thread.member(&TASK_WRITTEN).unwrap_or(NO_COUNT)
}

/// The tgid of a task.
#[inline(always)]
pub(crate) fn tgid_of(task: Kptr) -> Option<u32> {
    task.member(&TASK_TGID)
}

/// Identity of the process that `task` belongs to.
#[inline(always)]
pub(crate) fn process_of(task: Kptr) -> Option<ProcessId> {
    let tgid: u32 = task.member(&TASK_TGID)?;
    let start_ns: u64 = task.follow(&TASK_GROUP_LEADER)?.member(&TASK_START)?;
    Some(ProcessId::new(tgid, start_ns))
}

/// The parent process, as `getppid` returns it.
#[inline(always)]
pub(crate) fn parent_of(task: Kptr) -> Option<ProcessId> {
    process_of(task.follow(&TASK_REAL_PARENT)?)
}

/// The tgid inside the innermost pid namespace (the last of `NSpid` in `/proc/PID/status`).
#[inline(always)]
pub(crate) fn ns_tgid(task: Kptr) -> Option<u32> {
    let pid = task.follow(&TASK_GROUP_LEADER)?.follow(&TASK_PID_STRUCT)?;
    let level: u32 = pid.member(&PID_LEVEL)?;
    let upid = Kptr(pid.at(&PID_NUMBERS).0 + u64::from(level) * UPID_SIZE.load());
    upid.member(&UPID_NR)
}

/// The task's name, NUL-padded.
#[inline(always)]
pub(crate) fn comm_of(task: Kptr) -> [u8; limits::COMM] {
    task.member(&TASK_COMM).unwrap_or([0; limits::COMM])
}

/// The name of the current task, NUL-padded.
#[inline(always)]
pub(crate) fn current_comm() -> [u8; limits::COMM] {
    bpf_get_current_comm().unwrap_or([0; limits::COMM])
}

/// Whether this is a kernel thread.
#[inline(always)]
pub(crate) fn is_kernel_thread(task: Kptr) -> bool {
    task.member::<u32, _>(&TASK_FLAGS).is_none_or(|flags| flags & PF_KTHREAD != 0)
}
