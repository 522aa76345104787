//! Writers that keep every CPU busy.

use std::{
    os::fd::{AsRawFd as _, OwnedFd},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

use super::{size, untimed, write};
use crate::{
    measure::{Measured, Truth},
    stage::{self, Request},
    tree,
};

/// Writes between two checks of the clock.
const BATCH: u64 = 64;

/// Runs this many seconds: a writer to `/dev/null` per CPU, and a writer to a pipe with a reader.
pub(crate) fn run(request: &Request) -> Result<Measured> {
    storm(Duration::from_secs(request.calls)).map(untimed)
}

pub(super) fn storm(time: Duration) -> Result<Truth> {
    let cpus = thread::available_parallelism().context("cannot ask for the CPUs")?.get();
    let (results, result) = stage::pipe()?;
    let (read, into) = stage::pipe()?;
    let mut children = Vec::new();
    for _ in 0..cpus {
        children.push(tree::fork(|| report(&result, write_for(time)?))?);
    }
    // The closure owns the write end, so that the reader, which is forked later, does not inherit it.
    children.push(tree::fork({
        let result = &result;
        move || {
            stage::dup_to(&into, 1)?;
            report(result, write_for(time)?)
        }
    })?);
    children.push(tree::fork(|| read_all(&read))?);
    let mut truth = Truth::of_reader();
    truth.pipes = 1;
    for _ in 0..=cpus {
        let mut line = [0; 16];
        let got = stage::read(results.as_raw_fd(), &mut line)?;
        ensure!(got == line.len(), "a result of {got} bytes");
        let [writes, bytes] = [0, 8].map(|start| {
            let number = line[start..start + 8].try_into().unwrap_or_default();
            u64::from_ne_bytes(number)
        });
        truth += Truth::of_process(writes, bytes);
    }
    children.into_iter().try_for_each(tree::Child::wait)?;
    Ok(truth)
}

/// Writes for this time; returns the number of writes and of bytes.
fn write_for(time: Duration) -> Result<(u64, u64)> {
    let end = Instant::now() + time;
    let (mut writes, mut bytes) = (0, 0);
    while Instant::now() < end {
        for number in writes..writes + BATCH {
            write(size(number))?;
            bytes += size(number);
        }
        writes += BATCH;
    }
    Ok((writes, bytes))
}

/// Sends a result by one write, which is atomic on a pipe.
fn report(pipe: &OwnedFd, (writes, bytes): (u64, u64)) -> Result<()> {
    stage::write_all(pipe.as_raw_fd(), &[writes.to_ne_bytes(), bytes.to_ne_bytes()].concat())
}

fn read_all(read: &OwnedFd) -> Result<()> {
    stage::dup_to(read, 0)?;
    let mut buffer = vec![0; 1 << 16];
    while stage::read(0, &mut buffer)? > 0 {}
    Ok(())
}
