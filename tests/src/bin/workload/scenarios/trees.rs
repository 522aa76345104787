//! Process trees.

use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd};

use anyhow::{Context, Result};

use crate::{ledger::Ledger, process, sys};

/// Forks 1,000 children, fifty at a time. The bytes that they write differ.
pub(crate) fn wide(ledger: &mut Ledger) -> Result<()> {
    const CHILDREN: usize = 1000;
    const AT_A_TIME: usize = 50;
    for first in (0..CHILDREN).step_by(AT_A_TIME) {
        let children = (first..first + AT_A_TIME)
            .map(|number| {
                process::fork(ledger, |own| {
                    own.write(1, number * 37 % 5003 + 1)?;
                    own.write(2, number % 10 + 1)
                })
            })
            .collect::<Result<Vec<_>>>()?;
        children.into_iter().try_for_each(process::wait_success)?;
    }
    ledger.write(1, 3)
}

/// Forks 800 children that live at the same time, more than tracer has slots for their ledger rows.
/// Each writes, waits until all have written, redirects its stdout to stderr and back, and writes
/// after each step.
pub(crate) fn crowd(ledger: &mut Ledger) -> Result<()> {
    const CHILDREN: usize = 800;
    let (read, write) = sys::pipe()?;
    let write = write.into_raw_fd();
    let children = (0..CHILDREN)
        .map(|number| {
            process::fork(ledger, |own| {
                sys::close(write)?;
                own.write(1, number % 97 + 1)?;
                own.write(2, number % 11 + 1)?;
                wait_for_end(&read)?;
                own.write(1, number % 89 + 1)?;
                let stdout = sys::dup(1)?;
                sys::dup2(2, 1)?;
                own.write(1, number % 7 + 1)?;
                sys::dup2(stdout, 1)?;
                own.write(1, number % 5 + 1)
            })
        })
        .collect::<Result<Vec<_>>>()?;
    sys::close(write)?;
    children.into_iter().try_for_each(process::wait_success)?;
    ledger.write(1, 3)
}

/// Forks ten levels of descendants. Each process writes before and after its child runs.
pub(crate) fn deep(ledger: &mut Ledger) -> Result<()> {
    descend(ledger, 10)
}

fn descend(ledger: &mut Ledger, levels: usize) -> Result<()> {
    ledger.write(1, levels * 100 + 1)?;
    if levels > 1 {
        let child = process::fork(ledger, |own| descend(own, levels - 1))?;
        process::wait_success(child)?;
    }
    ledger.write(2, levels)?;
    ledger.write(1, levels * 1000)
}

/// A double fork with `setsid`. The daemon writes after its parents have ended.
pub(crate) fn daemon(ledger: &mut Ledger) -> Result<()> {
    ledger.write(1, 19)?;
    // Only the daemon closes the write end, so it reads the end of file when the last process above
    // it has ended.
    let (read, write) = sys::pipe()?;
    let write = write.into_raw_fd();
    let middle = process::fork(ledger, |own| {
        // SAFETY: takes no pointer.
        sys::check("setsid", libc::c_long::from(unsafe { libc::setsid() }))?;
        own.write(2, 29)?;
        process::fork(own, |own| {
            sys::close(write)?;
            wait_for_end(&read)?;
            own.write(1, 4242)?;
            own.write(2, 24)
        })
        .map(drop)
    })?;
    process::wait_success(middle)
}

fn wait_for_end(read: &OwnedFd) -> Result<()> {
    let end = sys::read(read.as_raw_fd(), &mut [0]);
    end.map_err(std::io::Error::from_raw_os_error).context("waiting for the parents").map(drop)
}
