//! Loops of two processes connected by pipes.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::{
    measure::{Measured, Truth, warm_up},
    stage::{self, Request},
    tree,
};

/// Transfers 4 KiB per write.
pub(crate) fn pipe4k(request: &Request) -> Result<Measured> {
    transfer(request.calls, 4 << 10)
}

/// Transfers 64 KiB per write, the capacity of a pipe.
pub(crate) fn pipe64k(request: &Request) -> Result<Measured> {
    transfer(request.calls, 64 << 10)
}

/// This process writes to a child. The time includes the child's last read.
fn transfer(calls: u64, size: usize) -> Result<Measured> {
    let (read, write) = stage::pipe()?;
    let total = (calls + warm_up(calls)) * size as u64;
    let reader = tree::fork(|| {
        stage::dup_to(&read, 0)?;
        let mut bytes = vec![0; size];
        let mut left = total;
        while left > 0 {
            let got = stage::read(0, &mut bytes)? as u64;
            ensure!(got > 0, "the writer is gone, {left} bytes early");
            left -= got;
        }
        Ok(())
    })?;
    drop(read);
    stage::dup_to(&write, 1)?;
    let bytes = vec![b'p'; size];
    for _ in 0..warm_up(calls) {
        stage::write_all(1, &bytes)?;
    }
    let start = Instant::now();
    for _ in 0..calls {
        stage::write_all(1, &bytes)?;
    }
    reader.wait()?;
    let ns = u64::try_from(start.elapsed().as_nanos())?;
    let writes = calls + warm_up(calls);
    let truth = Truth { writes, bytes: total, processes: 1, ..Truth::default() };
    Ok(Measured { calls, ns, bytes: calls * size as u64, truth })
}

/// Makes one pipe after the other, one for each call: this process writes a message to each and reads it.
pub(crate) fn successive(request: &Request) -> Result<Measured> {
    const MESSAGE: &[u8; 16] = b"a short message\n";
    let start = Instant::now();
    for _ in 0..request.calls {
        let (read, write) = stage::pipe()?;
        stage::dup_to(&write, 1)?;
        drop(write);
        stage::write_all(1, MESSAGE)?;
        stage::dup_to(&read, 0)?;
        ensure!(stage::read(0, &mut [0; MESSAGE.len()])? == MESSAGE.len(), "a short read");
    }
    let ns = u64::try_from(start.elapsed().as_nanos())?;
    let (calls, bytes) = (request.calls, request.calls * MESSAGE.len() as u64);
    let truth = Truth { writes: calls, bytes, pipes: calls, ..Truth::default() };
    Ok(Measured { calls, ns, bytes, truth })
}

/// A round trip of one message. Both processes are pinned to one CPU: between two CPUs the wake-up
/// of an idle CPU dominates, and in a virtual machine its time varies by microseconds.
pub(crate) fn pingpong(request: &Request) -> Result<Measured> {
    const MESSAGE: &[u8; 32] = b"a message and its echo are alike";
    pin()?;
    let (calls, all) = (request.calls, request.calls + warm_up(request.calls));
    let (there_read, there_write) = stage::pipe()?;
    let (back_read, back_write) = stage::pipe()?;
    let echo = tree::fork(|| {
        stage::dup_to(&there_read, 0)?;
        stage::dup_to(&back_write, 1)?;
        (0..all).try_for_each(|_| {
            receive()?;
            stage::write_all(1, MESSAGE)
        })
    })?;
    stage::dup_to(&back_read, 0)?;
    stage::dup_to(&there_write, 1)?;
    let round_trip = || -> Result<()> {
        stage::write_all(1, MESSAGE)?;
        receive()
    };
    let ns = crate::measure::clock(calls, round_trip)?;
    echo.wait()?;
    let size = MESSAGE.len() as u64;
    let truth = Truth { writes: 2 * all, bytes: 2 * all * size, processes: 1, ..Truth::default() };
    Ok(Measured { calls, ns, bytes: 2 * calls * size, truth })
}

fn receive() -> Result<()> {
    let mut bytes = [0; 32];
    let read = stage::read(0, &mut bytes)?;
    ensure!(read == bytes.len(), "a message of {read} bytes");
    Ok(())
}

fn pin() -> Result<()> {
    let allowed = sched_getaffinity(None).context("cannot ask for the CPUs")?;
    let first = (0..CpuSet::MAX_CPU).find(|cpu| allowed.is_set(*cpu)).context("no CPU")?;
    let mut one = CpuSet::new();
    one.set(first);
    sched_setaffinity(None, &one).context("cannot pin to a CPU")
}
