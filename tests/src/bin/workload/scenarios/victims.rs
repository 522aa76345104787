//! Processes that a signal kills in or after a write; their parent keeps their books.

use std::os::fd::{AsRawFd, OwnedFd};

use anyhow::{Context, Result, ensure};
use rustix::io::ioctl_fionread;
use tracer_tests::{
    deadline::wait_until,
    procfs::{is_blocked_in_write, object_of},
    truth::FdTruth,
};

use crate::{ledger::Ledger, process, sys};

/// A child is killed while its write sleeps on a full pipe, after a part of it was read: the
/// kernel has taken bytes the program never heard of. The parent counts them by draining.
pub(crate) fn killed_while_blocked(ledger: &mut Ledger) -> Result<()> {
    const OFFERED: usize = 300_000;
    const FIRST_PART: usize = 20_480;
    ledger.write(1, 31)?;
    let (read, write) = sys::pipe()?;
    let capacity = sys::pipe_capacity(write.as_raw_fd())?;
    let object = object_of(write.as_raw_fd());
    let victim = process::fork(ledger, |own| {
        sys::dup2(write.as_raw_fd(), 1)?;
        own.write(1, OFFERED)
    })?;
    drop(write);
    let victim_pid = u32::try_from(victim)?;

    let is_stuck = || {
        let held = ioctl_fionread(&read)?;
        Ok((held == capacity as u64 && is_blocked_in_write(victim_pid, 1)).then_some(()))
    };
    wait_until("the victim to sleep in write", is_stuck)?;
    let first = take(&read, FIRST_PART)?;
    wait_until("the victim to sleep in write again", is_stuck)?;
    // SAFETY: takes no pointer; the pid is a child not yet awaited.
    unsafe { libc::kill(victim, libc::SIGKILL) };
    let status = process::wait(victim)?;
    ensure!(libc::WTERMSIG(status) == libc::SIGKILL, "the victim ended with {status:#x}");

    let mut row = FdTruth::new(1, object);
    row.note(OFFERED, Ok(first + drain(&read)?));
    ledger.publish_row_for(victim_pid, row)?;
    ledger.write(2, 32)
}

/// A child dies of SIGPIPE: the call has failed with `EPIPE` by then.
pub(crate) fn killed_by_sigpipe(ledger: &mut Ledger) -> Result<()> {
    ledger.write(1, 51)?;
    let (read, write) = sys::pipe()?;
    let object = object_of(write.as_raw_fd());
    let victim = process::fork(ledger, |own| {
        // SAFETY: takes no pointer; Rust ignores SIGPIPE, most programs do not.
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

fn take(read: &OwnedFd, size: usize) -> Result<usize> {
    let taken = sys::read(read.as_raw_fd(), &mut vec![0; size]);
    taken.map_err(std::io::Error::from_raw_os_error).context("draining the victim's pipe")
}

fn drain(read: &OwnedFd) -> Result<usize> {
    let mut total = 0;
    loop {
        match take(read, 65536)? {
            0 => return Ok(total),
            taken => total += taken,
        }
    }
}
