//! Loops that repeat one system call.

use std::{fs::File, os::fd::AsRawFd, thread, time::Instant};

use anyhow::{Context, Result, anyhow, ensure};

use crate::{
    measure::{self, Measured, Truth},
    stage::{self, Request},
    tree::{self, Child},
};

/// The data of a write.
const LINE: &[u8; 32] = b"thirty-one characters of output\n";

/// A system call that moves no bytes.
pub(crate) fn getppid(request: &Request) -> Result<Measured> {
    let calls = request.calls;
    let ns = measure::clock(calls, || {
        // SAFETY: takes no pointer. By number, because a library can cache the result.
        unsafe { libc::syscall(libc::SYS_getppid) };
        Ok(())
    })?;
    Ok(Measured { calls, ns, ..Measured::default() })
}

/// Reads 32 bytes from `/dev/zero`.
pub(crate) fn read32(request: &Request) -> Result<Measured> {
    let zero = File::open("/dev/zero").context("cannot open /dev/zero")?;
    let mut bytes = [0; LINE.len()];
    let calls = request.calls;
    let ns = measure::clock(calls, || {
        let read = stage::read(zero.as_raw_fd(), &mut bytes)?;
        ensure!(read == LINE.len(), "read {read} bytes");
        Ok(())
    })?;
    Ok(Measured { calls, ns, bytes: calls * LINE.len() as u64, ..Measured::default() })
}

/// Writes 32 bytes to a further fd, which is `/dev/null`.
pub(crate) fn write32_aside(request: &Request) -> Result<Measured> {
    let null = File::options().write(true).open("/dev/null").context("cannot open /dev/null")?;
    let calls = request.calls;
    let ns = measure::clock(calls, || stage::write_all(null.as_raw_fd(), LINE))?;
    Ok(Measured { calls, ns, bytes: calls * LINE.len() as u64, ..Measured::default() })
}

/// Writes 32 bytes to fd 1, which is `/dev/null`.
pub(crate) fn write32(request: &Request) -> Result<Measured> {
    measure::clock_writes(request.calls, LINE.len() as u64, || stage::write_all(1, LINE))
}

/// Writes 32 bytes in two segments to fd 1.
pub(crate) fn writev(request: &Request) -> Result<Measured> {
    let (first, second) = LINE.split_at(LINE.len() / 2);
    let segments = [first, second]
        .map(|part| libc::iovec { iov_base: part.as_ptr().cast_mut().cast(), iov_len: part.len() });
    measure::clock_writes(request.calls, LINE.len() as u64, || {
        // SAFETY: two segments, each valid for its length; the kernel only reads them.
        let wrote = unsafe { libc::syscall(libc::SYS_writev, 1, segments.as_ptr(), 2) };
        ensure!(wrote == LINE.len() as i64, "writev returned {wrote}");
        Ok(())
    })
}

/// `write32` in one process per CPU at the same time. Only the first process is measured.
pub(crate) fn every_cpu(request: &Request) -> Result<Measured> {
    let cpus = thread::available_parallelism().context("cannot ask for the CPUs")?.get() as u64;
    let others =
        (1..cpus).map(|_| tree::fork(|| write32(request).map(drop))).collect::<Result<Vec<_>>>()?;
    let mut own = write32(request)?;
    others.into_iter().try_for_each(Child::wait)?;
    own.truth.writes *= cpus;
    own.truth.bytes *= cpus;
    own.truth.processes = cpus - 1;
    Ok(own)
}

/// `write32` in several processes at the same time. The time is that until the last of them has ended.
pub(crate) fn writers(request: &Request) -> Result<Measured> {
    let writers = u64::from(request.writers.max(1));
    let each = (request.calls / writers).max(1);
    let start = Instant::now();
    let write = || (0..each).try_for_each(|_| stage::write_all(1, LINE));
    let children = (0..writers).map(|_| tree::fork(write)).collect::<Result<Vec<_>>>()?;
    children.into_iter().try_for_each(Child::wait)?;
    let ns = u64::try_from(start.elapsed().as_nanos())?;
    let (calls, size) = (each * writers, LINE.len() as u64);
    let bytes = calls * size;
    let truth = Truth { writes: calls, bytes, processes: writers, ..Truth::default() };
    Ok(Measured { calls, ns, bytes, truth })
}

/// `write32` in two threads, which share one ledger row of tracer.
pub(crate) fn threads2(request: &Request) -> Result<Measured> {
    let half = Request { calls: request.calls / 2, ..request.clone() };
    let (own, other) = thread::scope(|scope| {
        let other = scope.spawn(|| write32(&half));
        (write32(&half), other.join())
    });
    let mut sum = own?;
    let other = other.map_err(|_| anyhow!("a writing thread panicked"))??;
    // The threads run in parallel, so the slower one determines the time.
    sum.ns = sum.ns.max(other.ns);
    sum.calls += other.calls;
    sum.bytes += other.bytes;
    sum.truth.writes += other.truth.writes;
    sum.truth.bytes += other.truth.bytes;
    Ok(sum)
}
