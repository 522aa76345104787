//! Whether the kernel ran a call that returned a result.
//!
//! Three things keep the kernel from running a call and let it return a result all the same. Seccomp traps the call
//! and restores its registers. A seccomp supervisor answers it. A tracer emulates it (`PTRACE_SYSEMU`). So the result
//! of a call counts as a transfer only if the kernel itself is a witness: for a thread without seccomp filter and
//! tracer, nothing else can have answered. For other threads, the kernel's own counts of the thread are compared
//! (`task_io_accounting`, which `vfs_read` and `vfs_write` increase).

use tracer_common::{
    ledger::{NOT_RUN, ThreadIo},
    loss::Reason,
    offsets::MISSING,
    op,
};

use crate::{
    events::loss as losses,
    kernel::{
        constants::{
            HAS_TASK_BTF, SECCOMP_NOTIFY, SECCOMP_PREVIOUS, SIGQUEUE_CODE, TASK_BLOCKED,
            TASK_FILTER, TASK_PENDING, TASK_PENDING_LIST, TASK_PTRACE, TASK_READ, TASK_START,
            TASK_WORK, TASK_WRITTEN, TRACE_START, TYPE_TASK,
        },
        fdlookup,
        kread::{Kptr, has_cast},
        regs,
        task::{self, CurrentTask, FilesTable},
    },
    maps::THREAD_IO,
    syscalls::{
        SyscallContext,
        table::{self, IO_BASE, is_io},
    },
};

/// `SIGSYS` in a `sigset_t`.
const SIGSYS: u64 = 1 << (31 - 1);
/// `si_code` of a signal that seccomp has sent (`include/uapi/asm-generic/siginfo.h`).
const SYS_SECCOMP: i32 = 1;
/// How many filters of a thread are checked at once for a supervisor.
const FILTERS: u32 = 8;
/// How many times as many are checked if it has more. A thread with still more counts as supervised: systemd installs
/// one for each directive and architecture, some tens for a hardened unit.
const BATCHES: u32 = 16;

/// What became of a call.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// The kernel ran it.
    Ran,
    /// Seccomp trapped it, or a supervisor answered it.
    NotRun,
    /// The thread's tracer emulated it.
    Emulated,
    /// It cannot be told who answered it.
    Unknown,
}

/// 1 once a call of a suspect thread was checked.
#[unsafe(no_mangle)]
static mut SUSPECTS_SEEN: u32 = 0;

/// The part of a thread's `thread_info` that decides who may answer its calls.
#[derive(Clone, Copy)]
struct Supervision {
    has_filter: bool,
    is_emulated: bool,
    is_traced: bool,
}

impl Supervision {
    /// Of the current thread: two loads.
    #[inline(always)]
    fn of(task: CurrentTask) -> Self {
        let (word, bits) = if TASK_WORK.load() == MISSING {
            (task.load::<u64, _>(&regs::FLAGS), regs::FLAG_BITS)
        } else {
            (task.load::<u64, _>(&TASK_WORK), regs::WORK_BITS)
        };
        let ptrace: u32 = task.load(&TASK_PTRACE);
        Self {
            has_filter: word & bits.seccomp != 0,
            is_emulated: word & bits.emulated != 0,
            is_traced: ptrace != 0,
        }
    }
}

/// Whether a seccomp filter of the current thread may have answered a call that returned 0, without a listener
/// (`SECCOMP_RET_ERRNO` with the error 0).
#[inline(always)]
pub(crate) fn has_filter() -> bool {
    Supervision::of(CurrentTask::get()).has_filter
}

/// Whether something else than the kernel may have answered a call of this thread. `is_rolled_back`: the registers are
/// as seccomp restores them when it traps a call.
#[inline(always)]
pub(crate) fn is_suspect(task: CurrentTask, is_rolled_back: bool) -> bool {
    let Supervision { has_filter, is_emulated, is_traced } = Supervision::of(task);
    is_emulated || is_traced || has_filter && (is_rolled_back || has_listener() == 1)
}

/// Whether a supervisor listens to a filter of the current thread, or did so at an earlier call. It may answer a call
/// and end before the call returns. Exported, so that the verifier checks it once, and so that threads without a filter
/// do not pay for its registers.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn has_listener() -> u64 {
    let had_one = has_suspects() && THREAD_IO.get_ptr(task::current_tid()).is_some();
    u64::from(had_one || is_listened_to(CurrentTask::get()))
}

/// Whether a call of a suspect thread was ever checked.
#[inline(always)]
fn has_suspects() -> bool {
    // SAFETY: an aligned load; once it is 1 it stays 1.
    unsafe { core::ptr::read_volatile(&raw const SUSPECTS_SEEN) != 0 }
}

#[inline(always)]
fn is_listened_to(task: CurrentTask) -> bool {
    if TASK_FILTER.load() == MISSING || SECCOMP_NOTIFY.load() == MISSING {
        return false;
    }
    let is_typed = HAS_TASK_BTF.load() == 1;
    let follow = |from: Kptr| {
        if is_typed {
            from.typed_follow(&SECCOMP_PREVIOUS)
        } else {
            from.follow(&SECCOMP_PREVIOUS).unwrap_or(Kptr(0))
        }
    };
    let mut filter = if has_cast() {
        task.address().cast(&TYPE_TASK).typed_follow(&TASK_FILTER)
    } else if is_typed {
        task.address().typed_follow(&TASK_FILTER)
    } else {
        task.address().follow(&TASK_FILTER).unwrap_or(Kptr(0))
    };
    for _ in 0..FILTERS {
        if filter.0 == 0 {
            return false;
        }
        let listener: u64 = if is_typed {
            filter.typed(&SECCOMP_NOTIFY)
        } else {
            filter.member(&SECCOMP_NOTIFY).unwrap_or(1)
        };
        if listener != 0 {
            return true;
        }
        filter = follow(filter);
    }
    filter.0 != 0 && is_any_listened_to()
}

/// As [`is_listened_to`], for a thread with many filters.
#[inline(always)]
fn is_any_listened_to() -> bool {
    let mut filter = task::current().follow(&TASK_FILTER).map_or(0, |first| first.0);
    for _ in 0..BATCHES {
        filter = listener_or_next(filter);
        if filter <= 1 {
            return filter == 1;
        }
    }
    true
}

/// 1 if a supervisor listens to one of the next filters; otherwise the filter after them, 0 at the end. Exported, so that
/// the verifier checks its loop once.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn listener_or_next(first: u64) -> u64 {
    let mut filter = Kptr(first);
    for _ in 0..FILTERS {
        if filter.0 == 0 {
            return 0;
        }
        if filter.member::<u64, _>(&SECCOMP_NOTIFY).unwrap_or(1) != 0 {
            return 1;
        }
        filter = filter.follow(&SECCOMP_PREVIOUS).unwrap_or(Kptr(0));
    }
    filter.0
}

/// Corrects the stored call if its thread is suspect: a call that the kernel did not run failed with [`NOT_RUN`], and a
/// call that a tracer emulated has the class of such calls. Returns the class. Exported, so that the verifier checks it
/// once.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn correct_call() -> u64 {
    let Some(call) = SyscallContext::current() else { return 0 };
    let task = CurrentTask::get();
    let is_rolled_back = call.is_rolled_back == 1;
    if is_suspect(task, is_rolled_back) {
        match fate_of(task, call.class, call.result, is_rolled_back) {
            Fate::Ran => {}
            Fate::NotRun => call.result = NOT_RUN,
            Fate::Emulated => call.class = table::EMULATED,
            Fate::Unknown => call.doubt = Reason::MaybeAnswered as u32,
        }
    } else if call.result == 0 && has_filter() && !is_done(call) {
        call.result = NOT_RUN;
    }
    u64::from(call.class)
}

/// Whether a call that returned 0 has done to its fds what it says, as far as they show it. Otherwise a filter answered it,
/// without a listener.
#[inline(always)]
fn is_done(call: &SyscallContext) -> bool {
    let files = FilesTable::Probed(task::current_files());
    let file = |fd: i32| fdlookup::file_of(files, fd).map_or(0, |file| file.0);
    let first = call.args[0] as i32;
    match call.class {
        table::CLOSE => file(first) == 0,
        // The result of a `dup2` to fd 0.
        table::DUP => file(first) == file(0),
        _ => true,
    }
}

/// Decides what became of a call.
#[inline(always)]
fn fate_of(task: CurrentTask, class: u32, result: i64, is_rolled_back: bool) -> Fate {
    let supervision = Supervision::of(task);
    if supervision.is_emulated {
        // The tracer may have switched to emulation while the kernel ran this call.
        let has_moved = result > 0 && is_io(class);
        let has_run = has_moved && compare(class, result) == Fate::Ran;
        return if has_run { Fate::Ran } else { Fate::Emulated };
    }
    if is_rolled_back && supervision.has_filter && was_trapped(task::current()) {
        return Fate::NotRun;
    }
    let has_supervisor = supervision.has_filter && has_listener() == 1;
    if !supervision.is_traced && !has_supervisor {
        return Fate::Ran;
    }
    match compare(class, result) {
        Fate::NotRun if supervision.is_traced => Fate::Emulated,
        // A tracer can change a call, but keeps the kernel from running it by emulation only.
        Fate::Unknown if !has_supervisor => Fate::Ran,
        compared => compared,
    }
}

/// Whether seccomp has sent `SIGSYS` to this thread and it has not received it yet. Seccomp unblocks the signal.
#[inline(always)]
fn was_trapped(task: Kptr) -> bool {
    let is_set = |set: Option<u64>| set.unwrap_or(0) & SIGSYS != 0;
    if !is_set(task.member(&TASK_PENDING)) || is_set(task.member(&TASK_BLOCKED)) {
        return false;
    }
    // The signal is queued last. If the kernel had no memory for it, the list is empty.
    let list = task.at(&TASK_PENDING_LIST);
    let latest = list.0.wrapping_add(8);
    match Kptr(latest).read::<u64>() {
        Some(entry) if entry != list.0 => {
            Kptr(entry).member::<i32, _>(&SIGQUEUE_CODE) == Some(SYS_SECCOMP)
        }
        _ => true,
    }
}

/// Compares a call's result with what the kernel counted for the thread since its latest call.
#[inline(never)]
fn compare(class: u32, result: i64) -> Fate {
    if TASK_READ.load() == MISSING || TASK_WRITTEN.load() == MISSING {
        return if result > 0 && is_io(class) { Fate::Unknown } else { Fate::Ran };
    }
    let task = task::current();
    let now = ThreadIo {
        start_ns: task.member(&TASK_START).unwrap_or(0),
        read: task.member(&TASK_READ).unwrap_or(0),
        written: task.member(&TASK_WRITTEN).unwrap_or(0),
    };
    // SAFETY: an aligned store; every CPU stores the same value.
    unsafe { core::ptr::write_volatile(&raw mut SUSPECTS_SEEN, 1) };
    let before = replace(&now);
    // A message was sent if the result is 0.
    let moves_bytes = is_io(class) && (result > 0 || result == 0 && class == table::MQ_SEND);
    if !moves_bytes {
        return Fate::Ran;
    }
    let of = |counted: fn(&ThreadIo) -> u64| match &before {
        Some(before) => grown(counted(&now).wrapping_sub(counted(before)), result as u64),
        None if counted(&now) < result as u64 => Fate::NotRun,
        None => Fate::Unknown,
    };
    match class.wrapping_sub(IO_BASE) {
        op::WRITE
        | op::PWRITE64
        | op::WRITEV
        | op::PWRITEV
        | op::PWRITEV2
        | op::SENDFILE
        | op::COPY_FILE_RANGE => of(|io| io.written),
        op::READ | op::PREAD64 | op::READV | op::PREADV | op::PREADV2 => of(|io| io.read),
        _ => Fate::Unknown,
    }
}

#[inline(always)]
fn grown(by: u64, result: u64) -> Fate {
    match by {
        0 => Fate::NotRun,
        by if by == result => Fate::Ran,
        _ => Fate::Unknown,
    }
}

/// Stores what the kernel has counted for the current thread. Returns what was stored before: zero for a thread that
/// started in the trace.
#[inline(always)]
fn replace(now: &ThreadIo) -> Option<ThreadIo> {
    let tid = task::current_tid();
    if let Some(known) = THREAD_IO.get_ptr_mut(tid) {
        // SAFETY: points to a live map value; only this thread and, after its end, a sweep change it.
        let before = unsafe { core::mem::replace(&mut *known, *now) };
        if before.start_ns == now.start_ns {
            return Some(before);
        }
    } else if THREAD_IO.insert(tid, now, 0).is_err() {
        losses::count(Reason::LedgerFull, 0);
    }
    (now.start_ns >= TRACE_START.load())
        .then_some(ThreadIo { start_ns: now.start_ns, ..ThreadIo::ZERO })
}

/// Forgets what was counted for a thread, at its end.
#[inline(always)]
pub(crate) fn forget(tid: u32) {
    if has_suspects() {
        let _ = THREAD_IO.remove(tid);
    }
}
