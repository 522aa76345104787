//! Read ends of pipes that are closed without a `close` of their own.

use std::{
    fs::File,
    os::fd::{AsRawFd as _, RawFd},
    thread,
    time::Duration,
};

use anyhow::{Result, ensure};

use crate::{ledger::Ledger, process::Image, sys};

/// Time between each two events, so that the report shows between which of them a read end was closed.
const BEFORE: Duration = Duration::from_millis(300);
const AFTER: Duration = Duration::from_millis(1000);

/// Makes `stdio` a pipe whose only read end is `fd`, closed on exec. A byte is written and read.
fn pipe_to(ledger: &mut Ledger, stdio: RawFd, fd: RawFd) -> Result<()> {
    let (read, write) = sys::pipe()?;
    sys::dup3_cloexec(read.as_raw_fd(), fd)?;
    sys::dup2(write.as_raw_fd(), stdio)?;
    ledger.write(stdio, 1)?;
    let read = sys::read(fd, &mut [0]);
    ensure!(read == Ok(1), "fd {fd}: {read:?}");
    Ok(())
}

/// Finds a scenario of this file by name.
pub(crate) fn find(name: &str) -> Option<fn(&mut Ledger) -> Result<()>> {
    Some(match name {
        "closed-by-exec" => closed_by_exec,
        "without-readers" => without_readers,
        "closed-in-a-range" => closed_in_a_range,
        "stdio-in-a-range" => stdio_in_a_range,
        _ => return None,
    })
}

/// Executes another image, which closes the read ends of fd 1 and fd 2.
fn closed_by_exec(ledger: &mut Ledger) -> Result<()> {
    pipe_to(ledger, 1, 9)?;
    pipe_to(ledger, 2, 300)?;
    thread::sleep(BEFORE);
    ledger.publish()?;
    Err(Image::of_self(&["without-readers"])?.exec())
}

/// Waits, then writes to pipes without a reader.
fn without_readers(ledger: &mut Ledger) -> Result<()> {
    thread::sleep(AFTER);
    ledger.write_failing(1, 10, libc::EPIPE)?;
    ledger.write_failing(2, 20, libc::EPIPE)
}

/// Closes 201 fds in one call. One of the last is the read end of fd 1.
fn closed_in_a_range(ledger: &mut Ledger) -> Result<()> {
    const FIRST: RawFd = 400;
    const LAST: RawFd = 600;
    const END: RawFd = 590;
    let null = File::open("/dev/null")?;
    for fd in FIRST..=LAST {
        sys::dup3_cloexec(null.as_raw_fd(), fd)?;
    }
    pipe_to(ledger, 1, END)?;
    thread::sleep(BEFORE);
    sys::close_range(FIRST, LAST)?;
    thread::sleep(AFTER);
    ledger.write_failing(1, 10, libc::EPIPE)?;
    ledger.write(2, 11)
}

/// Closes fd 0, fd 1 and fd 2 in one call.
fn stdio_in_a_range(ledger: &mut Ledger) -> Result<()> {
    ledger.write(1, 61)?;
    ledger.write(2, 62)?;
    sys::close_range(0, 2)
}
