//! Facts that help to explain a verdict: terminal checks, failed connects and execs, replaced standard fds,
//! closed read ends, pipes made non-blocking. Their number per process image is limited.

mod cuts;
mod fds;

use tracer_common::{
    event::{self, fact, kind},
    ledger::{READ, WRITE},
    limits,
    loss::Reason,
    object::FdState,
    process::{CUTS_SHIFT, ProcessEntry, mark},
};

use self::fds::{only_sets_cloexec, read_ends_of_call, returns_new_fd};
use crate::{
    events::{emit, loss as losses},
    kernel::{
        atomic::add32,
        constants::{TASK_TRACER, URING_COVERED},
        task, usermem,
    },
    maps::slot,
    object,
    syscalls::{Call, SyscallContext, io, io_side, races, table},
    targets::{membership, watches},
};

/// `TCGETS` and `TCGETS2` (`include/uapi/asm-generic/ioctls.h`): used by `isatty(3)`.
const TCGETS: u32 = 0x5401;
const TCGETS2: u32 = 0x802c_542a;
/// `TCFLSH`, and the commands that set the attributes and flush the input (`include/uapi/asm-generic/ioctls.h`).
const TCFLSH: u32 = 0x540b;
const TCSETSF: u32 = 0x5404;
const TCSETAF: u32 = 0x5408;
const TCSETSF2: u32 = 0x402c_542d;
/// Replaces the line discipline, which has what was received and is not read yet.
const TIOCSETD: u32 = 0x5423;
/// `fcntl(2)` commands (`include/uapi/asm-generic/fcntl.h`, `linux/fcntl.h`).
const F_DUPFD: u32 = 0;
const F_SETFL: u32 = 4;
const F_DUPFD_CLOEXEC: u32 = 1030;
const O_NONBLOCK: u64 = 0o4000;
/// `include/uapi/asm-generic/ioctls.h`.
const FIONBIO: u32 = 0x5421;
/// A `connect` in progress is not a failure (`errno.h`).
const EINPROGRESS: i64 = 115;
/// Maximum length of a `sockaddr` in an event (`struct sockaddr_un` is 110 bytes).
const SOCKADDR: u32 = 128;

/// Processes the current call, which moved no bytes.
#[inline(always)]
pub(crate) fn observe(class: u32) {
    if class == table::IOCTL {
        observe_ioctl();
    }
    let tgid = task::current_tgid();
    match membership::entry(tgid) {
        Some(entry) => {
            let (process, role) = membership::read(tgid, entry);
            let replaced = read_ends_of_call();
            if membership::is_target(role) {
                if replaced != 0 {
                    // Called here and not in `read_ends_of_call`, because it needs a lot of stack.
                    let fd = replaced as i32 - 1;
                    watches::watch_fd(slot::SYS_EXIT, &process, task::current_files(), fd, 0);
                }
                facts_of_target();
                if cuts::may_cut(class) {
                    cuts::cut_of_call();
                }
            } else {
                observe_unfollowed(class);
            }
        }
        None => observe_unfollowed(class),
    }
}

/// Books bytes that an `ioctl` moved, and doubts those that it discarded.
#[inline(always)]
fn observe_ioctl() {
    match SyscallContext::current().map_or(0, |call| call.args[1] as u32) {
        io_side::FICLONE | io_side::FICLONERANGE => io::clone(),
        TCFLSH | TCSETSF | TCSETAF | TCSETSF2 | TIOCSETD => {
            let flushed = flushed_by_call();
            if flushed & 1 << READ != 0 {
                io::doubt_terminal(READ);
            }
            if flushed & 1 << WRITE != 0 {
                io::doubt_terminal(WRITE);
            }
        }
        _ => {}
    }
}

/// The directions of a terminal that the current call flushed, as bits (ioctl_tty(2)): what it has received and is not
/// read yet, and what was written to it and has not left it. Exported, like the functions below.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn flushed_by_call() -> u64 {
    let Some(call) = Call::current() else { return 0 };
    if call.result != 0 {
        return 0;
    }
    match (call.args.int::<1>(), call.args.get::<2>()) {
        (TCFLSH, 0) | (TCSETSF | TCSETAF | TCSETSF2 | TIOCSETD, _) => 1 << READ,
        (TCFLSH, 1) => 1 << WRITE,
        (TCFLSH, 2) => 1 << READ | 1 << WRITE,
        _ => 0,
    }
}

/// Two calls of a process that is not followed matter: it can make a pipe of the target non-blocking, and cut a file to
/// which the target writes.
#[inline(always)]
fn observe_unfollowed(class: u32) {
    match class {
        table::FCNTL | table::IOCTL => {
            nonblock_of_call();
        }
        _ if cuts::may_cut(class) => {
            cuts::cut_of_call();
        }
        _ => {}
    }
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn facts_of_target() -> u64 {
    if let Some(call) = Call::current()
        && let Some(entry) = call.entry
    {
        report_fact(&call, entry.as_ptr());
    }
    0
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn nonblock_of_call() -> u64 {
    if let Some(call) = Call::current() {
        nonblock(&call);
    }
    0
}

#[inline(always)]
fn report_fact(call: &Call, entry: *mut ProcessEntry) {
    if returns_new_fd(call) && call.result >= 0 {
        races::report(call, entry, call.result as i32);
    } else if call.class == table::CLOSE && call.result == 0 {
        races::report(call, entry, call.args.fd::<0>());
    }
    match call.class {
        table::IOCTL => ioctl(call, entry),
        table::CONNECT => connect(call, entry),
        table::EXECVE => exec_failed(call, entry, call.args.get::<0>()),
        table::EXECVEAT => exec_failed(call, entry, call.args.get::<1>()),
        table::DUP => replaced(call, entry),
        class if table::is_open(class) => replaced(call, entry),
        table::FCNTL => fcntl(call, entry),
        table::CLOSE if call.result == 0 => closed(call, entry, call.args.fd::<0>()),
        table::CLOSE_RANGE if call.result == 0 && !only_sets_cloexec(call) => {
            closed_range(call, entry);
        }
        table::STAT
            if call.result == 0
                && call.args.fd::<0>() == 1
                && membership::mark(entry, mark::STDOUT_STAT) =>
        {
            send(call, fact::STDOUT_STAT, 1);
        }
        table::AIO if call.result > 0 => losses::count(Reason::AioNotCovered, 0),
        table::EMULATED => emulated(call, entry),
        table::URING_ENTER if call.result > 0 && URING_COVERED.load() == 0 => {
            losses::count(Reason::UringNotCovered, 0);
        }
        _ => {}
    }
}

#[inline(always)]
pub(crate) fn is_stdio(fd: i64) -> bool {
    (0..3).contains(&fd)
}

#[inline(always)]
fn ioctl(call: &Call, entry: *mut ProcessEntry) {
    let (fd, command) = (call.args.fd::<0>(), call.args.int::<1>());
    if command == FIONBIO {
        nonblock(call);
        return;
    }
    if !is_stdio(i64::from(fd)) || (command != TCGETS && command != TCGETS2) {
        return;
    }
    let shift = if call.result == 0 { mark::TTY_SHIFT } else { mark::NO_TTY_SHIFT };
    if membership::mark(entry, 1 << (shift + (fd as u32 & 3))) {
        send(call, fact::TTY_ASKED, fd);
    }
}

/// Reports once that the caller's tracer emulates its calls: they are those of a guest, and none of this kernel.
#[inline(always)]
fn emulated(call: &Call, entry: *mut ProcessEntry) {
    if !membership::mark(entry, mark::EMULATED) {
        return;
    }
    let tracer = task::current().follow(&TASK_TRACER);
    send_with_text(call, fact::EMULATED, -1, |text| {
        let Some(tracer) = tracer else { return 0 };
        let comm = task::comm_of(tracer);
        text[..comm.len()].copy_from_slice(&comm);
        comm.len() as u32
    });
}

#[inline(always)]
fn connect(call: &Call, entry: *mut ProcessEntry) {
    if call.result >= 0 || call.result == -EINPROGRESS || !count_fact(call, entry) {
        return;
    }
    let length = call.args.int::<2>();
    let length = if length > SOCKADDR { SOCKADDR } else { length };
    send_with_text(call, fact::CONNECT_FAILED, call.args.fd::<0>(), |text| {
        if usermem::copy(call.args.get::<1>(), length, text) { length } else { 0 }
    });
}

#[inline(always)]
fn exec_failed(call: &Call, entry: *mut ProcessEntry, path: u64) {
    if call.result >= 0 || !count_fact(call, entry) {
        return;
    }
    send_with_text(call, fact::EXEC_FAILED, -1, |text| usermem::string(path, text));
}

#[inline(always)]
fn replaced(call: &Call, entry: *mut ProcessEntry) {
    if !is_stdio(call.result) || !count_fact(call, entry) {
        return;
    }
    let fd = call.result as i32;
    if let Some(record) = start(call, fact::FD_REPLACED, fd) {
        object::fd_state(task::current_files(), fd, &mut record.payload.state);
        record.send(0);
    }
}

#[inline(always)]
fn fcntl(call: &Call, entry: *mut ProcessEntry) {
    match call.args.int::<1>() {
        F_DUPFD | F_DUPFD_CLOEXEC => replaced(call, entry),
        _ => nonblock(call),
    }
}

/// Whether the call sets `O_NONBLOCK`: `fcntl(F_SETFL)` or `ioctl(FIONBIO)`.
#[inline(always)]
fn sets_nonblock(call: &Call) -> bool {
    let (command, argument) = (call.args.int::<1>(), call.args.get::<2>());
    match call.class {
        table::FCNTL => command == F_SETFL && argument & O_NONBLOCK != 0,
        _ => command == FIONBIO && usermem::read::<u32>(argument).is_some_and(|on| on != 0),
    }
}

/// Reports a process, in the target or not, that made a watched object non-blocking for all processes that share
/// the open file.
#[inline(never)]
fn nonblock(call: &Call) {
    if call.result != 0 || !sets_nonblock(call) {
        return;
    }
    let fd = call.args.fd::<0>();
    let mut state = FdState::default();
    object::fd_state(task::current_files(), fd, &mut state);
    // A seccomp filter can say so of a call that never ran.
    if !watches::is_shared_watch(&state.object) || u64::from(state.flags) & O_NONBLOCK == 0 {
        return;
    }
    let Some(process) = task::process_of(task::current()) else { return };
    membership::follow_participant(&process, task::current());
    let call = Call { process, ..*call };
    if membership::entry(process.tgid).is_some_and(|entry| count_fact(&call, entry))
        && let Some(record) = start(&call, fact::NONBLOCK, fd)
    {
        record.payload.detail = 1;
        record.payload.state = state;
        send_with_name(record);
    }
}

#[inline(always)]
fn closed(call: &Call, entry: *mut ProcessEntry, fd: i32) {
    if is_stdio(i64::from(fd)) && count_fact(call, entry) {
        send(call, fact::FD_CLOSED, fd);
    }
}

/// Reports each of fd 0, 1 and 2 that `close_range(2)` closed.
#[inline(always)]
fn closed_range(call: &Call, entry: *mut ProcessEntry) {
    let (first, last) = (call.args.int::<0>(), call.args.int::<1>());
    for fd in 0..3 {
        if first <= fd && fd <= last {
            closed(call, entry, fd as i32);
        }
    }
}

/// Counts a fact against the limit of the process. Returns `false` if the limit is reached; the first fact beyond
/// the limit sends [`fact::CUT`] instead.
#[inline(always)]
fn count_fact(call: &Call, entry: *mut ProcessEntry) -> bool {
    // SAFETY: the entry points to a live map value.
    let sent = unsafe { (*entry).facts } & ((1 << CUTS_SHIFT) - 1);
    if sent > limits::FACTS_PER_PROCESS {
        return false;
    }
    // SAFETY: as above.
    unsafe { add32(&raw mut (*entry).facts, 1) };
    if sent == limits::FACTS_PER_PROCESS {
        send(call, fact::CUT, -1);
        return false;
    }
    true
}

/// Starts the record of a fact about a call.
#[inline(always)]
fn start(call: &Call, fact: u32, fd: i32) -> Option<&'static mut emit::Record<event::Fact>> {
    let record = emit::start::<event::Fact>(slot::SYS_EXIT, kind::FACT)?;
    record.payload.process = call.process;
    record.payload.fact = fact;
    record.payload.fd = fd;
    record.payload.errno = if call.result < 0 { (-call.result) as u32 } else { 0 };
    Some(record)
}

#[inline(always)]
pub(crate) fn send(call: &Call, fact: u32, fd: i32) {
    if let Some(record) = start(call, fact, fd) {
        record.send(0);
    }
}

/// Sends the record of a fact about a process of which nothing else may be told: with its name.
#[inline(always)]
fn send_with_name(record: &mut emit::Record<event::Fact>) {
    let comm = task::current_comm();
    record.text[..comm.len()].copy_from_slice(&comm);
    record.send(comm.len() as u32);
}

#[inline(always)]
fn send_with_text(
    call: &Call,
    fact: u32,
    fd: i32,
    fill: impl FnOnce(&mut [u8; limits::FACT]) -> u32,
) {
    if let Some(record) = start(call, fact, fd) {
        // SAFETY: the text is longer than FACT bytes, so it starts with an array of FACT bytes.
        let prefix = unsafe { &mut *record.text.as_mut_ptr().cast::<[u8; limits::FACT]>() };
        let length = fill(prefix);
        record.send(length);
    }
}
