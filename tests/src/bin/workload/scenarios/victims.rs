//! Processes that a signal kills during or after a write. Their parent publishes their counts.

use std::os::fd::{AsRawFd, OwnedFd};

use anyhow::{Context, Result, ensure};
use rustix::io::ioctl_fionread;
use tracer_tests::{
    deadline::wait_until,
    procfs::{is_blocked_in_write, object_of},
    truth::FdTruth,
};

use crate::{ledger::Ledger, process, sys};

/// A child is killed while it is blocked in a write that was partly read. The kernel has accepted bytes
/// that the call never returned; the parent counts them by draining the pipe.
pub(crate) fn killed_while_blocked(ledger: &mut Ledger) -> Result<()> {
    const REQUESTED: usize = 300_000;
    const FIRST_PART: usize = 20_480;
    ledger.write(1, 31)?;
    let (read, write) = sys::pipe()?;
    let capacity = sys::pipe_capacity(write.as_raw_fd())?;
    let object = object_of(write.as_raw_fd());
    let victim = process::fork(ledger, |own| {
        sys::dup2(write.as_raw_fd(), 1)?;
        own.write(1, REQUESTED)
    })?;
    drop(write);
    let victim_pid = u32::try_from(victim)?;

    let is_blocked = || {
        let unread = ioctl_fionread(&read)?;
        Ok((unread == capacity as u64 && is_blocked_in_write(victim_pid, 1)).then_some(()))
    };
    wait_until("the victim to block in write", is_blocked)?;
    let first = read_some(&read, FIRST_PART)?;
    wait_until("the victim to block in write again", is_blocked)?;
    process::signal(victim, libc::SIGKILL)?;
    let status = process::wait(victim)?;
    ensure!(libc::WTERMSIG(status) == libc::SIGKILL, "the victim ended with {status:#x}");

    let mut row = FdTruth::new(1, object);
    row.note(REQUESTED, Ok(first + drain(&read)?));
    ledger.publish_row_for(victim_pid, row)?;
    ledger.write(2, 32)
}

/// 200 children are killed while they are blocked in a write, every second of them while it is stopped there. The
/// kernel has interrupted their writes by then, and no child learns of it.
pub(crate) fn killed_when_interrupted(ledger: &mut Ledger) -> Result<()> {
    const VICTIMS: usize = 200;
    let (read, write) = sys::pipe()?;
    sys::dup2(write.as_raw_fd(), 1)?;
    drop(write);
    let capacity = sys::pipe_capacity(1)?;
    ledger.write(1, capacity)?;
    for number in 0..VICTIMS {
        let victim = process::fork(ledger, |own| own.write(1, 1))?;
        let pid = u32::try_from(victim)?;
        let is_blocked = || Ok(is_blocked_in_write(pid, 1).then_some(()));
        wait_until("the victim to block in write", is_blocked)?;
        if number % 2 == 1 {
            process::stop(victim)?;
        }
        process::signal(victim, libc::SIGKILL)?;
        let status = process::wait(victim)?;
        ensure!(libc::WTERMSIG(status) == libc::SIGKILL, "the victim ended with {status:#x}");
    }
    let unread = read_some(&read, 2 * capacity)?;
    ensure!(unread == capacity, "{unread} bytes were in the pipe, not {capacity}");
    ledger.write(2, 34)
}

/// A child is killed by SIGPIPE after its write has failed with `EPIPE`.
pub(crate) fn killed_by_sigpipe(ledger: &mut Ledger) -> Result<()> {
    ledger.write(1, 51)?;
    let (read, write) = sys::pipe()?;
    let object = object_of(write.as_raw_fd());
    let victim = process::fork(ledger, |own| {
        // SAFETY: takes no pointer; undoes that the Rust runtime ignores SIGPIPE.
        unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
        sys::dup2(write.as_raw_fd(), 1)?;
        drop(read);
        wait_until("the reader to be gone", || Ok(is_readerless(&write)?.then_some(())))?;
        own.write(1, 77)
    });
    let victim = victim?;
    let status = process::wait(victim)?;
    ensure!(libc::WTERMSIG(status) == libc::SIGPIPE, "the victim ended with {status:#x}");
    let mut row = FdTruth::new(1, object);
    row.note(77, Err(libc::EPIPE));
    ledger.publish_row_for(victim.try_into()?, row)?;
    ledger.write(2, 52)
}

fn is_readerless(write: &OwnedFd) -> Result<bool> {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let mut watched = [PollFd::new(write, PollFlags::OUT)];
    poll(&mut watched, Some(&Timespec::default()))?;
    Ok(watched[0].revents().contains(PollFlags::ERR))
}

fn read_some(read: &OwnedFd, size: usize) -> Result<usize> {
    let count = sys::read(read.as_raw_fd(), &mut vec![0; size]);
    count.map_err(std::io::Error::from_raw_os_error).context("draining the victim's pipe")
}

fn drain(read: &OwnedFd) -> Result<usize> {
    let mut total = 0;
    loop {
        match read_some(read, 65536)? {
            0 => return Ok(total),
            count => total += count,
        }
    }
}
