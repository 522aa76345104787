//! Small facts that explain a verdict: who asked for a terminal, what could not be reached, what
//! replaced fd 1, who closed a reading end, who made a pipe non-blocking. A bounded number for each
//! process.

use tracer_common::{
    event::{self, fact, kind},
    limits,
    loss::Reason,
    object::FdState,
    process::ProcessEntry,
};

use crate::{
    atomic::add32,
    constants::URING_COVERED,
    emit, loss as losses,
    maps::slot,
    membership, object, read_ends,
    syscalls::{Call, table},
    task, usermem,
};

/// `TCGETS` and `TCGETS2` (`include/uapi/asm-generic/ioctls.h`): what `isatty(3)` asks.
const TCGETS: u64 = 0x5401;
const TCGETS2: u64 = 0x802c_542a;
/// `fcntl(2)` commands (`include/uapi/asm-generic/fcntl.h`, `linux/fcntl.h`).
const F_DUPFD: u64 = 0;
const F_SETFL: u64 = 4;
const F_DUPFD_CLOEXEC: u64 = 1030;
const O_NONBLOCK: u64 = 0o4000;
/// `include/uapi/asm-generic/ioctls.h`.
const FIONBIO: u64 = 0x5421;
/// `connect` in progress is no failure (`errno.h`).
const EINPROGRESS: i64 = 115;
/// The longest `sockaddr` that is kept (`struct sockaddr_un` is 110 bytes).
const SOCKADDR: u64 = 128;

/// Looks at the noted call, which moved no bytes.
#[inline(always)]
pub(crate) fn observe(class: u32) {
    let tgid = task::current_tgid();
    match membership::entry(tgid) {
        Some(entry) => {
            let (process, role) = membership::read(tgid, entry);
            let placed = ends_of_call();
            if membership::is_target(role) {
                if placed != 0 {
                    // From here: the frames below it are deep.
                    let fd = placed as i32 - 1;
                    membership::watch_fd(slot::SYS_EXIT, &process, task::current_files(), fd, 0);
                }
                facts_of_target();
            } else {
                of_stranger(class);
            }
        }
        None => of_stranger(class),
    }
}

/// A stranger matters for one thing: it can make a pipe of the target non-blocking.
#[inline(always)]
fn of_stranger(class: u32) {
    if class == table::FCNTL || class == table::IOCTL {
        nonblock_of_call();
    }
}

/// Tells of reading ends that the noted call created or closed; one more than the fd, where something new
/// came onto fd 0, 1 or 2. Exported as [`crate::syscalls::io_side::decode_call`], like the two behind it.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn ends_of_call() -> u64 {
    let Some(call) = Call::noted() else { return 0 };
    if call.result < 0 {
        return 0;
    }
    of_ends(&call);
    if gives_new_fd(&call) && is_stdio(call.result) { call.result as u64 + 1 } else { 0 }
}

/// Whether the call's result is an fd that means something new.
#[inline(always)]
fn gives_new_fd(call: &Call) -> bool {
    match call.class {
        table::NEW_FD => true,
        table::FCNTL => matches!(call.args.get::<1>(), F_DUPFD | F_DUPFD_CLOEXEC),
        _ => false,
    }
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn facts_of_target() -> u64 {
    if let Some(call) = Call::noted()
        && let Some(entry) = call.entry
    {
        of_target(&call, entry.as_ptr());
    }
    0
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn nonblock_of_call() -> u64 {
    if let Some(call) = Call::noted() {
        nonblock(&call);
    }
    0
}

/// Reading ends that this call created or closed.
#[inline(always)]
fn of_ends(call: &Call) {
    match call.class {
        table::CLOSE => read_ends::closed(call, call.args.fd::<0>()),
        table::CLOSE_RANGE if !only_marks(call) => {
            read_ends::closed_range(call, call.args.get::<0>() as u32);
        }
        table::NEW_FD | table::FCNTL if gives_new_fd(call) => {
            read_ends::closed(call, call.result as i32);
        }
        table::PIPE => created(call, call.args.get::<0>(), false),
        table::SOCKETPAIR => created(call, call.args.get::<3>(), true),
        _ => {}
    }
}

/// `CLOSE_RANGE_CLOEXEC` (`include/uapi/linux/close_range.h`): the range is marked, not closed.
#[inline(always)]
fn only_marks(call: &Call) -> bool {
    call.args.get::<2>() & 4 != 0
}

#[inline(always)]
fn created(call: &Call, list: u64, both: bool) {
    if !membership::is_target(call.role) {
        return;
    }
    let Some([first, second]) = usermem::read::<[i32; 2]>(list) else {
        losses::count(Reason::UserMemory, 0);
        return;
    };
    read_ends::created(call, first);
    if both {
        read_ends::created(call, second);
    }
}

#[inline(always)]
fn of_target(call: &Call, entry: *mut ProcessEntry) {
    match call.class {
        table::IOCTL => ioctl(call, entry),
        table::CONNECT => connect(call, entry),
        table::EXECVE => exec_failed(call, entry, call.args.get::<0>()),
        table::EXECVEAT => exec_failed(call, entry, call.args.get::<1>()),
        table::NEW_FD => replaced(call, entry),
        table::FCNTL => fcntl(call, entry),
        table::CLOSE if call.result == 0 => closed(call, entry, call.args.fd::<0>()),
        table::CLOSE_RANGE if call.result == 0 && !only_marks(call) => closed_range(call, entry),
        table::AIO if call.result > 0 => losses::count(Reason::AioNotCovered, 0),
        table::URING_ENTER if call.result > 0 && URING_COVERED.load() == 0 => {
            losses::count(Reason::UringNotCovered, 0);
        }
        _ => {}
    }
}

#[inline(always)]
fn is_stdio(fd: i64) -> bool {
    (0..3).contains(&fd)
}

#[inline(always)]
fn ioctl(call: &Call, entry: *mut ProcessEntry) {
    let (fd, command) = (call.args.fd::<0>(), call.args.get::<1>());
    if command == FIONBIO {
        nonblock(call);
        return;
    }
    if !is_stdio(i64::from(fd)) || (command != TCGETS && command != TCGETS2) {
        return;
    }
    let bit = 1u32 << ((fd as u32 & 3) + if call.result == 0 { 8 } else { 0 });
    // SAFETY: the entry points to a live map value; a race costs one duplicate event.
    unsafe {
        if (*entry).tty_asked & bit != 0 {
            return;
        }
        (*entry).tty_asked |= bit;
    }
    send(call, fact::TTY_ASKED, fd);
}

#[inline(always)]
fn connect(call: &Call, entry: *mut ProcessEntry) {
    if call.result >= 0 || call.result == -EINPROGRESS || !has_room(call, entry) {
        return;
    }
    let length = call.args.get::<2>();
    let length = if length > SOCKADDR { SOCKADDR } else { length } as u32;
    with_text(call, fact::CONNECT_FAILED, call.args.fd::<0>(), |text| {
        if usermem::copy(call.args.get::<1>(), length, text) { length } else { 0 }
    });
}

#[inline(always)]
fn exec_failed(call: &Call, entry: *mut ProcessEntry, path: u64) {
    if call.result >= 0 || !has_room(call, entry) {
        return;
    }
    with_text(call, fact::EXEC_FAILED, -1, |text| usermem::string(path, text));
}

#[inline(always)]
fn replaced(call: &Call, entry: *mut ProcessEntry) {
    if !is_stdio(call.result) || !has_room(call, entry) {
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
    match call.args.get::<1>() {
        F_DUPFD | F_DUPFD_CLOEXEC => replaced(call, entry),
        _ => nonblock(call),
    }
}

/// Whether the call switched `O_NONBLOCK` on: `fcntl(F_SETFL)` or `ioctl(FIONBIO)`.
#[inline(always)]
fn asks_for_nonblock(call: &Call) -> bool {
    let (command, argument) = (call.args.get::<1>(), call.args.get::<2>());
    match call.class {
        table::FCNTL => command == F_SETFL && argument & O_NONBLOCK != 0,
        _ => command == FIONBIO && usermem::read::<u32>(argument).is_some_and(|on| on != 0),
    }
}

/// A process, in the target or not, made a watched object non-blocking for all that share its open file.
#[inline(never)]
fn nonblock(call: &Call) {
    if call.result != 0 || !asks_for_nonblock(call) {
        return;
    }
    let fd = call.args.fd::<0>();
    let mut state = FdState::default();
    object::fd_state(task::current_files(), fd, &mut state);
    if !membership::is_shared_watch(&state.object) {
        return;
    }
    let Some(process) = task::process_of(task::current()) else { return };
    membership::note_participant(&process, task::current());
    let call = Call { process, ..*call };
    if membership::entry(process.tgid).is_some_and(|entry| has_room(&call, entry))
        && let Some(record) = start(&call, fact::NONBLOCK, fd)
    {
        record.payload.detail = 1;
        record.payload.state = state;
        record.send(0);
    }
}

#[inline(always)]
fn closed(call: &Call, entry: *mut ProcessEntry, fd: i32) {
    if is_stdio(i64::from(fd)) && has_room(call, entry) {
        send(call, fact::FD_CLOSED, fd);
    }
}

/// `close_range(2)` names each of fd 0, 1 and 2 that it closed.
#[inline(always)]
fn closed_range(call: &Call, entry: *mut ProcessEntry) {
    let (first, last) = (call.args.get::<0>() as u32, call.args.get::<1>() as u32);
    for fd in 0..3 {
        if first <= fd && fd <= last {
            closed(call, entry, fd as i32);
        }
    }
}

/// Whether this process may still send a fact. The first one that it may not send is told of as such.
#[inline(always)]
fn has_room(call: &Call, entry: *mut ProcessEntry) -> bool {
    // SAFETY: the entry points to a live map value.
    let told = unsafe { (*entry).facts };
    if told > limits::FACTS_PER_PROCESS {
        return false;
    }
    // SAFETY: as above.
    unsafe { add32(&raw mut (*entry).facts, 1) };
    if told == limits::FACTS_PER_PROCESS {
        send(call, fact::CUT, -1);
        return false;
    }
    true
}

/// Starts the record of a fact about `call`.
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
fn send(call: &Call, fact: u32, fd: i32) {
    if let Some(record) = start(call, fact, fd) {
        record.send(0);
    }
}

#[inline(always)]
fn with_text(call: &Call, fact: u32, fd: i32, fill: impl FnOnce(&mut [u8; limits::FACT]) -> u32) {
    if let Some(record) = start(call, fact, fd) {
        // SAFETY: the text is longer than FACT bytes, so its front is an array of FACT bytes.
        let front = unsafe { &mut *record.text.as_mut_ptr().cast::<[u8; limits::FACT]>() };
        let length = fill(front);
        record.send(length);
    }
}
