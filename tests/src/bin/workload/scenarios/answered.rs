//! Calls that the kernel does not run: seccomp traps them, a supervisor or a tracer answers them.

use std::{
    ffi::c_long,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd},
    ptr::null_mut,
    thread,
};

use anyhow::{Context as _, Result, ensure};
use tracer_tests::{
    kernel::{KILLED_CALL_RETURNS, is_at_least},
    truth::{FdTruth, NOT_RUN},
};

use crate::{
    ledger::Ledger,
    process,
    sys::{self, Outcome, Unsupported},
};

/// Size of the writes that a filter selects.
pub(super) const SELECTED: usize = 1000;

/// What a filter selects: a call, and the lower halves of some arguments.
type Selection = (c_long, &'static [(u32, u32)]);

/// `write(1, …, SELECTED)`.
const WRITE: Selection = (libc::SYS_write, &[(0, 1), (2, SELECTED as u32)]);

/// A filter that applies `action` to what is selected.
fn filter((call, arguments): Selection, action: u32) -> Vec<libc::sock_filter> {
    const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    // `struct seccomp_data`: the number, the architecture, the address, the arguments.
    let at = |argument: u32| 16 + 8 * argument;
    let values: Vec<(u32, u32)> = [(0, call as u32)]
        .into_iter()
        .chain(arguments.iter().map(|(argument, value)| (at(*argument), *value)))
        .collect();
    let mut filter = Vec::new();
    for (index, (offset, value)) in values.iter().enumerate() {
        let rest = 2 * (values.len() - index) - 1;
        filter.push(libc::sock_filter { code: LOAD, jt: 0, jf: 0, k: *offset });
        filter.push(libc::sock_filter { code: EQUAL, jt: 0, jf: rest as u8, k: *value });
    }
    filter.push(libc::sock_filter { code: RETURN, jt: 0, jf: 0, k: action });
    filter.push(libc::sock_filter { code: RETURN, jt: 0, jf: 0, k: libc::SECCOMP_RET_ALLOW });
    filter
}

/// Installs a filter. With `SECCOMP_FILTER_FLAG_NEW_LISTENER`, returns the listener.
fn install(selection: Selection, action: u32, flags: c_long) -> Result<c_long> {
    let mut filter = filter(selection, action);
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: takes no pointer.
    sys::check("prctl", unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }.into())?;
    let mode = libc::SECCOMP_SET_MODE_FILTER;
    // SAFETY: the program is valid during the call.
    let done = unsafe { libc::syscall(libc::SYS_seccomp, mode, flags, &raw const program) };
    match done {
        -1 if sys::errno() == libc::EINVAL => {
            Err(Unsupported("this kernel has no such seccomp filters".to_owned()).into())
        }
        _ => sys::check("seccomp", done).map(|fd| fd as c_long),
    }
}

extern "C" fn ignore(_: i32) {}

/// Notes a write that is not run if it has the selected size.
fn note(ledger: &mut Ledger, size: usize, written: Outcome) {
    let counted = if size == SELECTED { Err(NOT_RUN) } else { written };
    let _ = ledger.note(1, size, counted);
}

/// Lets seccomp trap writes of [`SELECTED`] bytes to fd 1.
pub(crate) fn trap_selected() -> Result<()> {
    // SAFETY: the handler does nothing.
    unsafe { libc::signal(libc::SIGSYS, ignore as *const () as libc::sighandler_t) };
    install(WRITE, libc::SECCOMP_RET_TRAP, 0).map(drop)
}

/// Lets seccomp answer `close(1)` with 0.
pub(super) fn answer_close_of_stdout() -> Result<()> {
    install((libc::SYS_close, &[(0, 1)]), libc::SECCOMP_RET_ERRNO, 0).map(drop)
}

/// Makes a write that seccomp traps.
pub(crate) fn write_trapped(ledger: &mut Ledger) {
    let written = sys::write(1, &[b'x'; SELECTED]);
    note(ledger, SELECTED, written);
}

/// Calls that seccomp traps, between calls that the kernel runs.
pub(crate) fn trapped(ledger: &mut Ledger) -> Result<()> {
    ledger.write(1, SELECTED)?;
    trap_selected()?;
    install((libc::SYS_sendfile, &[(0, 1)]), libc::SECCOMP_RET_TRAP, 0)?;
    for size in [SELECTED, 1, SELECTED, 700] {
        // A trapped call returns what its handler leaves in the register.
        let written = sys::write(1, &vec![b'x'; size]);
        note(ledger, size, written);
    }
    // SAFETY: no offset is passed.
    let copied = unsafe { libc::sendfile(1, 0, null_mut(), SELECTED) };
    note(ledger, SELECTED, sys::outcome(copied as c_long));
    // Its number is 2, which would be stderr.
    #[cfg(target_arch = "x86_64")]
    {
        install((libc::SYS_open, &[]), libc::SECCOMP_RET_TRAP, 0)?;
        // SAFETY: the path is valid.
        unsafe { libc::syscall(libc::SYS_open, c"/dev/null".as_ptr(), libc::O_RDONLY) };
    }
    ledger.write(2, 5)
}

/// Seccomp kills a child at its second write.
pub(crate) fn killed(ledger: &mut Ledger) -> Result<()> {
    // SAFETY: this process has one thread.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let is_ready = install(WRITE, libc::SECCOMP_RET_KILL_PROCESS, 0).is_ok();
        let _ = sys::write(1, b"ab");
        let _ = sys::write(1, &[b'x'; SELECTED]);
        // SAFETY: ends the child.
        unsafe { libc::_exit(i32::from(is_ready)) };
    }
    let status = process::wait(child)?;
    ensure!(libc::WIFSIGNALED(status), "the child was not killed: {status:#x}");
    let mut row = FdTruth::new(1, tracer_tests::procfs::object_of(1));
    row.note(2, Ok(2));
    if is_at_least(KILLED_CALL_RETURNS)? {
        row.note(SELECTED, Err(NOT_RUN));
    }
    ledger.publish_row_for(u32::try_from(child)?, row)?;
    ledger.write(1, 9)
}

/// Answers `count` calls: with their length, as if they had run.
fn answer(listener: RawFd, count: usize) -> Result<()> {
    for _ in 0..count {
        // SAFETY: all-zero is a valid value of both, as the kernel wants them.
        let (mut call, mut reply): (libc::seccomp_notif, libc::seccomp_notif_resp) =
            unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
        // `SECCOMP_IOCTL_NOTIF_RECV` and `_SEND` (`include/uapi/linux/seccomp.h`).
        // SAFETY: `call` is valid for the call.
        let received = unsafe { libc::ioctl(listener, 0xc050_2100, &raw mut call) };
        sys::check("NOTIF_RECV", received.into())?;
        (reply.id, reply.val) = (call.id, call.data.args[2] as i64);
        // SAFETY: `reply` is valid for the call.
        let sent = unsafe { libc::ioctl(listener, 0xc018_2101, &raw mut reply) };
        sys::check("NOTIF_SEND", sent.into())?;
    }
    Ok(())
}

/// Writes of which a supervisor answers three.
fn write_supervised(ledger: &mut Ledger) -> Result<()> {
    for size in [300, SELECTED, 1, SELECTED, SELECTED, 700] {
        let written = sys::write(1, &vec![b'x'; size]);
        ensure!(written == Ok(size), "write({size}) returned {written:?}");
        note(ledger, size, written);
    }
    ledger.write(2, 6)
}

fn listen(selection: Selection) -> Result<OwnedFd> {
    let flags = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER as c_long;
    let fd = install(selection, libc::SECCOMP_RET_USER_NOTIF, flags)?;
    // SAFETY: the call has just opened it for this process.
    let listener = unsafe { OwnedFd::from_raw_fd(RawFd::try_from(fd)?) };
    sys::move_to_high_fd(listener)
}

/// A supervisor, here a thread of the process itself, answers some writes.
pub(crate) fn supervised(ledger: &mut Ledger) -> Result<()> {
    ledger.write(1, SELECTED)?;
    let listener = listen(WRITE)?;
    let supervisor = thread::spawn(move || answer(listener.as_raw_fd(), 3));
    write_supervised(ledger)?;
    supervisor.join().ok().context("the supervisor panicked")?
}

/// A process answers some writes of its child, which has the filter from its first instruction.
pub(crate) fn supervised_child(ledger: &mut Ledger) -> Result<()> {
    let listener = listen(WRITE)?;
    let child = process::fork(ledger, write_supervised)?;
    answer(listener.as_raw_fd(), 3)?;
    process::wait_success(child)?;
    ledger.write(1, 8)
}

/// Installs filters that select nothing, as many as a hardened unit of systemd has.
fn install_many() -> Result<()> {
    const FILTERS: usize = 40;
    (0..FILTERS)
        .try_for_each(|_| install((libc::SYS_mknodat, &[]), libc::SECCOMP_RET_ALLOW, 0).map(drop))
}

/// Sends of a thread with many filters, none of which has a supervisor.
pub(crate) fn many_filters(ledger: &mut Ledger) -> Result<()> {
    install_many()?;
    send(ledger, 300)?;
    send(ledger, 2 * SELECTED)?;
    ledger.write(2, 7)
}

/// A supervisor may answer calls of which the kernel keeps no count for the thread. It answers none. Its filter is below
/// many others.
pub(crate) fn supervised_socket(ledger: &mut Ledger) -> Result<()> {
    let _listener = listen((libc::SYS_sendto, &[(0, 1), (2, SELECTED as u32)]))?;
    install_many()?;
    send(ledger, 300)?;
    send(ledger, 2 * SELECTED)?;
    ledger.write(2, 7)
}

fn send(ledger: &mut Ledger, size: usize) -> Result<()> {
    let bytes = vec![b's'; size];
    // SAFETY: the buffer is valid for its length; there is no address.
    let sent = unsafe { libc::syscall(libc::SYS_sendto, 1, bytes.as_ptr(), size, 0, 0, 0) };
    let sent = ledger.note(1, size, sys::outcome(sent));
    ensure!(sent == Ok(size), "sendto of {size} B: {sent:?}");
    Ok(())
}

/// A supervisor listens to calls that do not occur. All writes run, by every call that the kernel counts for a thread.
pub(crate) fn supervised_elsewhere(ledger: &mut Ledger) -> Result<()> {
    ledger.write(1, 21)?;
    let _listener = listen((libc::SYS_mkdirat, &[]))?;
    ledger.write(1, SELECTED)?;
    let parts = [libc::iovec { iov_base: [0_u8; 40].as_mut_ptr().cast(), iov_len: 40 }; 3];
    // SAFETY: the parts are valid for the call.
    let written = unsafe { libc::writev(1, parts.as_ptr(), 3) };
    let _ = ledger.note(1, 120, sys::outcome(written as c_long));
    let child = process::fork(ledger, |own| {
        own.write(1, 33)?;
        own.write(2, 44)
    })?;
    process::wait_success(child)?;
    let worker = {
        let mut own = ledger.fresh()?;
        thread::spawn(move || own.write(1, 55).map(|()| own))
    };
    ledger.absorb(worker.join().ok().context("the thread panicked")??);
    ledger.write(1, 1)
}

/// Waits for a stop of a traced child; `false` if it has ended.
fn stopped(child: libc::pid_t) -> Result<bool> {
    Ok(libc::WIFSTOPPED(process::wait(child)?))
}

fn ptrace(request: libc::c_uint, child: libc::pid_t) -> Result<()> {
    // SAFETY: these requests take no pointer.
    let done = unsafe { libc::ptrace(request, child, 0, 0) };
    sys::check("ptrace", done).map(drop)
}

/// Forks a child that its parent traces.
fn traced(ledger: &Ledger, body: impl FnOnce(&mut Ledger) -> Result<()>) -> Result<libc::pid_t> {
    let child = process::fork(ledger, |own| {
        ptrace(libc::PTRACE_TRACEME, 0)?;
        // SAFETY: stops this process until its tracer continues it.
        unsafe { libc::raise(libc::SIGSTOP) };
        body(own)
    })?;
    ensure!(stopped(child)?, "the child has not stopped");
    Ok(child)
}

/// `PTRACE_SYSEMU` (`arch/x86/include/uapi/asm/ptrace-abi.h`, `arch/arm64/include/uapi/asm/ptrace.h`).
const PTRACE_SYSEMU: libc::c_uint = 31;

/// A tracer emulates the calls of a guest: the kernel runs none of them.
pub(crate) fn emulated(ledger: &mut Ledger) -> Result<()> {
    ledger.write(1, 14)?;
    // SAFETY: this process has one thread, and the child only makes calls.
    let guest = unsafe { libc::fork() };
    if guest == 0 {
        ptrace(libc::PTRACE_TRACEME, 0)?;
        // SAFETY: stops this process until its tracer continues it.
        unsafe { libc::raise(libc::SIGSTOP) };
        loop {
            let _ = sys::write(1, &[b'g'; 25]);
        }
    }
    ensure!(stopped(guest)?, "the guest has not stopped");
    for _ in 0..20 {
        ptrace(PTRACE_SYSEMU, guest)?;
        ensure!(stopped(guest)?, "the guest has ended");
    }
    process::signal(guest, libc::SIGKILL)?;
    process::wait(guest)?;
    ledger.write(2, 15)
}

/// A tracer stops a child at each call, as a debugger does, and the kernel runs all of them.
pub(crate) fn stepped(ledger: &mut Ledger) -> Result<()> {
    let child = traced(ledger, |own| {
        own.write(1, 25)?;
        own.write(1, 1)?;
        own.write(2, 300)
    })?;
    loop {
        ptrace(libc::PTRACE_SYSCALL, child)?;
        if !stopped(child)? {
            return ledger.write(1, 16);
        }
    }
}
