//! More processes, pipes and failures than any table should keep.

use std::os::fd::AsRawFd as _;

use anyhow::{Context as _, Result, ensure};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use tracer_tests::gate;

use crate::{ledger::Ledger, process, sys};

/// Starts 5,000 children, one after the other, which end at once.
pub(crate) fn children(ledger: &mut Ledger) -> Result<()> {
    const CHILDREN: usize = 5000;
    for _ in 0..CHILDREN {
        // SAFETY: this process has one thread, and the child only exits.
        let child = unsafe { libc::fork() };
        if child == 0 {
            // SAFETY: ends the child.
            unsafe { libc::_exit(0) };
        }
        ensure!(child > 0 && process::wait(child)? == 0, "a child failed");
    }
    ledger.write(1, 71)
}

/// Reads the output of one child, and writes. After the gate it does so with 5,000 children, each with a pipe of its
/// own, and waits at the gate again.
pub(crate) fn pipes(ledger: &mut Ledger) -> Result<()> {
    const CHILDREN: usize = 5000;
    read_output_of_child(ledger, 10)?;
    ledger.write(1, 70)?;
    ledger.publish()?;
    gate::wait()?;
    for number in 0..CHILDREN {
        read_output_of_child(ledger, number % 97 + 1)?;
    }
    ledger.write(1, 72)?;
    ledger.publish()?;
    gate::wait()
}

fn read_output_of_child(ledger: &Ledger, size: usize) -> Result<()> {
    let (read, write) = sys::pipe()?;
    let child = process::fork(ledger, |own| {
        sys::dup2(write.as_raw_fd(), 1)?;
        own.write(1, size)
    })?;
    drop(write);
    let mut total = 0;
    loop {
        let count = sys::read(read.as_raw_fd(), &mut [0; 128]);
        match count
            .map_err(std::io::Error::from_raw_os_error)
            .context("reading a child's output")?
        {
            0 => break,
            count => total += count,
        }
    }
    ensure!(total == size, "{total} of {size} bytes arrived");
    process::wait_success(child)
}

/// Fails to connect 40 times.
pub(crate) fn failures(ledger: &mut Ledger) -> Result<()> {
    const CONNECTS: usize = 40;
    for number in 0..CONNECTS {
        let socket =
            socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        let address = SocketAddrUnix::new(format!("/nonexistent/{number}"))?;
        ensure!(connect(&socket, &address).is_err(), "{address:?} exists");
    }
    ledger.write(1, 73)
}
