//! An fd is replaced while another thread may be writing or reading through it. The kernel has taken the file at the start
//! of the call, but tracer finds the file of the fd when the call returns: it cannot tell which of the two the bytes went
//! to, or came from.
//!
//! The registers of a thread that is in a call are at the top of its kernel stack. Those of a thread that is not in a
//! call are left from its latest one or from an interrupt, so a thread that used the fd last counts as well.

use tracer_common::{
    event::fact,
    loss::Reason,
    offsets::MISSING,
    op,
    process::{ProcessEntry, mark},
};

use crate::{
    events::loss as losses,
    kernel::{
        constants::{SIGNAL_THREAD_LIST, TASK_ON_CPU, TASK_SIGNAL, TASK_STACK, TASK_THREAD_LIST},
        kread::Kptr,
        regs, task,
    },
    ledger, read_ends,
    syscalls::{Call, SyscallContext, facts, table},
    targets::{membership, watches},
};

/// How many threads one call of [`user_among`] looks at.
const BATCH: u32 = 16;
/// How many times it is called: a process with more threads counts as racing.
const BATCHES: u32 = 16;
/// Bit beside an fd: it was closed, and only a thread that is certainly in a write counts.
const CLOSES: u64 = 1 << 32;
/// Its result if one of the threads may be using the fd. No address of a list is that small.
const FOUND: u64 = 1;

/// Reports once that the current call replaced an fd while another thread may have been using it, or closed it while
/// another thread was in a write: the fd may lead to another file before that write returns, by whatever call.
#[inline(always)]
pub(crate) fn report(call: &Call, entry: *mut ProcessEntry, fd: i32) {
    let tgid = call.process.tgid;
    let counts = watches::is_of_interest(fd)
        || ledger::is_written(tgid, fd)
        || read_ends::is_known(tgid, fd);
    if !counts {
        return;
    }
    let closes = call.class == table::CLOSE;
    let user = u64::from(fd as u32) | if closes { CLOSES } else { 0 };
    // The threads of another process with the same fds are not looked at. A call that takes a free fd replaces nothing.
    let replaces = call.class == table::DUP && call.args.fd::<1>() == fd;
    // SAFETY: the entry points to a live map value; the field is a plain integer.
    let is_shared = replaces && unsafe { (*entry).marks } & mark::SHARES_FILES != 0;
    if !is_shared && (task::is_single_threaded() || has_other_user(user) == 0) {
        return;
    }
    let is_standard = facts::is_stdio(i64::from(fd));
    losses::count(Reason::FdRaced, 0);
    let bit = mark::RACED_SHIFT + if is_standard { fd as u32 & 3 } else { 3 };
    if membership::mark(entry, 1 << bit) {
        facts::send(call, fact::FD_RACED, if is_standard { fd } else { -1 });
    }
}

/// Whether another thread of the current process may be using this fd, which the current call has replaced or closed
/// ([`CLOSES`]).
/// Exported, so that the verifier checks it once.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn has_other_user(fd: u64) -> u64 {
    let (Some(signal), Some(call)) =
        (task::current().follow(&TASK_SIGNAL), SyscallContext::current())
    else {
        return 0;
    };
    let list = signal.at(&SIGNAL_THREAD_LIST);
    let Some(stack) = task::current().member::<u64, _>(&TASK_STACK) else { return 0 };
    let registers_at = call.registers.wrapping_sub(stack);
    let mut node: u64 = list.read().unwrap_or(list.0);
    for _ in 0..BATCHES {
        if node == list.0 {
            return 0;
        }
        node = user_among(node, list.0, registers_at, fd);
        if node == FOUND {
            return 1;
        }
    }
    u64::from(node != list.0)
}

/// Looks at the next threads of a list. Returns the one after them, or [`FOUND`].
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn user_among(node: u64, list: u64, registers_at: u64, fd: u64) -> u64 {
    let mut node = Kptr(node);
    for _ in 0..BATCH {
        if node.0 == list {
            break;
        }
        let thread = Kptr(node.0.wrapping_sub(TASK_THREAD_LIST.load()));
        if thread.0 != task::current().0 && is_using(thread, registers_at, fd) {
            return FOUND;
        }
        node = Kptr(node.read().unwrap_or(list));
    }
    node.0
}

/// Whether the latest call of a thread writes or reads through this fd. The registers of a thread that runs may be those of
/// a call that has returned.
#[inline(always)]
fn is_using(thread: Kptr, registers_at: u64, fd: u64) -> bool {
    let closes = fd & CLOSES != 0;
    if closes && (TASK_ON_CPU.load() == MISSING || thread.member::<u32, _>(&TASK_ON_CPU) != Some(0))
    {
        return false;
    }
    let fd = fd as i32;
    let Some(stack) = thread.member::<u64, _>(&TASK_STACK) else { return true };
    let compat = regs::is_compat(thread.member(&regs::MODE).unwrap_or(0));
    let Some((number, arguments)) = regs::probed(Kptr(stack.wrapping_add(registers_at)), compat)
    else {
        return false;
    };
    let classes = table::classes(number);
    let class = if compat { classes >> 8 } else { classes & 0xff };
    let code = class.wrapping_sub(table::IO_BASE);
    let other = match code {
        _ if class == table::SOCKETCALL => return !closes,
        op::TEE | op::SENDFILE => arguments[1],
        op::SPLICE | op::COPY_FILE_RANGE => arguments[2],
        _ => arguments[0],
    };
    let is_one = arguments[0] as i32 == fd || other as i32 == fd;
    table::is_io(class) && is_one && !(closes && code >= op::READ)
}
