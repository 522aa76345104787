//! Blocked writes that a signal handler interrupts.

use std::{
    ffi::{c_int, c_long},
    hint, io, mem,
    os::fd::{AsRawFd, OwnedFd},
    ptr,
    sync::atomic::{AtomicU32, Ordering},
    thread,
};

use anyhow::{Result, anyhow, ensure};
use tracer_tests::{deadline::wait_until, procfs::is_blocked_in_write};

use crate::{ledger::Ledger, process, sys};

/// Number of runs of the handler.
static ALARMS: AtomicU32 = AtomicU32::new(0);

/// Interrupts a write to a full pipe. In the kernel it returns `-ERESTARTSYS`; signal delivery turns
/// that into `EINTR`, because the handler does not have `SA_RESTART`.
pub(crate) fn pipe(ledger: &mut Ledger) -> Result<()> {
    ledger.write(1, sys::pipe_capacity(1)?)?;
    interrupt_one_write(ledger)?;
    ledger.write(2, 17)
}

/// Interrupts a write to a full socket with a send timeout, which returns `-EINTR` in the kernel.
pub(crate) fn socket(ledger: &mut Ledger) -> Result<()> {
    const CHUNK: usize = 8192;
    sys::set_nonblocking(1, true)?;
    while ledger.note(1, CHUNK, sys::write(1, &[b'x'; CHUNK])).is_ok() {}
    sys::set_nonblocking(1, false)?;
    let timeout = libc::timeval { tv_sec: 60, tv_usec: 0 };
    // SAFETY: the option's value is a `timeval` of the length given.
    let set = unsafe {
        let length = mem::size_of_val(&timeout) as libc::socklen_t;
        let value = (&raw const timeout).cast();
        libc::setsockopt(1, libc::SOL_SOCKET, libc::SO_SNDTIMEO, value, length)
    };
    sys::check("SO_SNDTIMEO", c_long::from(set))?;
    interrupt_one_write(ledger)?;
    ledger.write(2, 18)
}

/// Interrupts a write to a full pipe with `SA_RESTART`. The program sees one successful call, although
/// the kernel restarts it several times.
pub(crate) fn restarted(ledger: &mut Ledger) -> Result<()> {
    let (read, write) = sys::pipe()?;
    sys::dup2(write.as_raw_fd(), 1)?;
    ledger.write(1, sys::pipe_capacity(1)?)?;
    handle_alarms(libc::SA_RESTART)?;
    set_timer(20_000)?;
    let drainer = thread::spawn(move || -> Result<()> {
        block_alarms()?;
        let is_enough = || Ok((ALARMS.load(Ordering::SeqCst) >= 5).then_some(()));
        wait_until("five alarms during the write", is_enough)?;
        let drained = sys::read(read.as_raw_fd(), &mut [0; 40_000]);
        ensure!(drained == Ok(40_000), "the drainer read {drained:?}");
        // Leaked, because the read end must outlive the write.
        mem::forget(read);
        Ok(())
    });
    ledger.write(1, 10)?;
    set_timer(0)?;
    restore_alarms();
    process::arm_watchdog();
    drainer.join().map_err(|_| anyhow!("the drainer panicked"))??;
    ledger.write(2, 19)
}

/// Stops and continues a process that is blocked in a write: the kernel restarts the write and runs no handler.
/// When the write has returned, a signal runs a handler without `SA_RESTART`.
pub(crate) fn stopped(ledger: &mut Ledger) -> Result<()> {
    const SIZE: usize = 30_000;
    let (read, write) = sys::pipe()?;
    let capacity = sys::pipe_capacity(write.as_raw_fd())?;
    let [has_returned] = sys::shared_counters()?;
    let writer = process::fork(ledger, |own| {
        sys::dup2(write.as_raw_fd(), 1)?;
        handle_alarms(0)?;
        own.write(1, capacity)?;
        let written = sys::write(1, &[b'x'; SIZE]);
        has_returned.store(1, Ordering::SeqCst);
        // No call until the handler has run.
        while ALARMS.load(Ordering::SeqCst) == 0 {
            hint::spin_loop();
        }
        restore_alarms();
        process::arm_watchdog();
        let written = own.note(1, SIZE, written);
        ensure!(written == Ok(SIZE), "the write that was stopped returned {written:?}");
        Ok(())
    })?;
    drop(write);
    let pid = u32::try_from(writer)?;
    let is_blocked = || Ok(is_blocked_in_write(pid, 1).then_some(()));
    wait_until("the writer to block", is_blocked)?;
    process::stop(writer)?;
    process::signal(writer, libc::SIGCONT)?;
    wait_until("the writer to block again", is_blocked)?;
    drain(&read, capacity + SIZE)?;
    let is_back = || Ok((has_returned.load(Ordering::SeqCst) == 1).then_some(()));
    wait_until("the write to return", is_back)?;
    process::signal(writer, libc::SIGALRM)?;
    process::wait_success(writer)?;
    ledger.write(2, 20)
}

fn drain(read: &OwnedFd, mut rest: usize) -> Result<()> {
    while rest > 0 {
        let read = sys::read(read.as_raw_fd(), &mut vec![0; rest]);
        rest -= read.map_err(io::Error::from_raw_os_error)?;
    }
    Ok(())
}

fn interrupt_one_write(ledger: &mut Ledger) -> Result<()> {
    handle_alarms(0)?;
    // Periodic, because an alarm before the start of the write does not interrupt it.
    set_timer(20_000)?;
    let written = ledger.note(1, 10, sys::write(1, &[b'x'; 10]));
    set_timer(0)?;
    restore_alarms();
    process::arm_watchdog();
    ensure!(written == Err(libc::EINTR), "the blocked write returned {written:?}");
    Ok(())
}

extern "C" fn count(_signal: c_int) {
    ALARMS.fetch_add(1, Ordering::SeqCst);
}

fn handle_alarms(flags: c_int) -> Result<()> {
    // SAFETY: all-zero is a valid `sigaction` with an empty mask; the handler only adds to an
    // atomic, which is async-signal-safe.
    let set = unsafe {
        let mut action: libc::sigaction = mem::zeroed();
        action.sa_sigaction = count as extern "C" fn(c_int) as usize;
        action.sa_flags = flags;
        libc::sigaction(libc::SIGALRM, &raw const action, ptr::null_mut())
    };
    sys::check("sigaction", c_long::from(set)).map(drop)
}

/// Blocks alarms in this thread, so that they interrupt the writing thread.
fn block_alarms() -> Result<()> {
    // SAFETY: both calls get a valid set; the old mask is not requested.
    let set = unsafe {
        let mut alarms: libc::sigset_t = mem::zeroed();
        libc::sigaddset(&raw mut alarms, libc::SIGALRM);
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const alarms, ptr::null_mut())
    };
    ensure!(set == 0, "pthread_sigmask: errno {set}");
    Ok(())
}

fn restore_alarms() {
    // SAFETY: takes no pointer; restores the default action, which the watchdog needs.
    unsafe { libc::signal(libc::SIGALRM, libc::SIG_DFL) };
}

fn set_timer(microseconds: libc::suseconds_t) -> Result<()> {
    let value = libc::timeval { tv_sec: 0, tv_usec: microseconds };
    let timer = libc::itimerval { it_interval: value, it_value: value };
    // SAFETY: `timer` is valid for the call; the old value is not requested.
    let set = unsafe { libc::setitimer(libc::ITIMER_REAL, &raw const timer, ptr::null_mut()) };
    sys::check("setitimer", c_long::from(set)).map(drop)
}
