//! Requests to an `io_uring`, which write without a write call. The counts are in the completions.

use std::os::fd::RawFd;

use anyhow::{Context, Result, bail, ensure};
use io_uring::{IoUring, opcode, squeue, types};
use tracer_tests::content;

use super::{
    plain::{segment, segments},
    socket::message,
    source::SourcePipe,
};
use crate::{
    ledger::Ledger,
    sys::{Outcome, Unsupported},
};

const ENTRIES: u32 = 16;

/// Offset that means the file's current position; also required for pipes.
pub(crate) const CURRENT: u64 = u64::MAX;

/// `IORING_OP_WRITE` with all sizes in one submission.
pub(crate) fn write(ledger: &mut Ledger, fd: RawFd, sizes: &[usize]) -> Result<()> {
    write_batch(ledger, &mut ring()?, fd, sizes, squeue::Flags::empty())
}

/// `IORING_OP_WRITE` completed by a kernel worker (`IOSQE_ASYNC`).
pub(crate) fn forced_async(ledger: &mut Ledger, fd: RawFd, sizes: &[usize]) -> Result<()> {
    write_batch(ledger, &mut ring()?, fd, sizes, squeue::Flags::ASYNC)
}

/// `IORING_OP_WRITE` submitted by the kernel's submission thread, without a system call.
pub(crate) fn sqpoll(ledger: &mut Ledger, fd: RawFd, sizes: &[usize]) -> Result<()> {
    const IDLE_MS: u32 = 1000;
    let ring = IoUring::builder().setup_sqpoll(IDLE_MS).build(ENTRIES);
    write_batch(ledger, &mut supported(ring)?, fd, sizes, squeue::Flags::empty())
}

/// `IORING_OP_WRITEV` with three segments.
pub(crate) fn writev(ledger: &mut Ledger, fd: RawFd, sizes: &[usize]) -> Result<()> {
    let mut ring = ring()?;
    sizes.iter().try_for_each(|size| {
        let bytes = content::fresh(*size);
        transfer(ledger, &mut ring, fd, *size, |ring, done, _| {
            let segments = segments(&bytes[done..]);
            let request = opcode::Writev::new(types::Fd(fd), segments.as_ptr(), 3).offset(CURRENT);
            complete_one(ring, &request.build())
        })
    })
}

/// `IORING_OP_WRITE_FIXED` from a registered buffer.
pub(crate) fn write_fixed(ledger: &mut Ledger, fd: RawFd, sizes: &[usize]) -> Result<()> {
    let mut ring = ring()?;
    let bytes = content::fresh(sizes.iter().sum());
    let table = [segment(bytes)];
    // SAFETY: `bytes` is never freed.
    unsafe { ring.submitter().register_buffers(&table) }.context("register buffers")?;
    let mut unwritten = bytes;
    sizes.iter().try_for_each(|size| {
        let (part, others) = unwritten.split_at(*size);
        unwritten = others;
        transfer(ledger, &mut ring, fd, *size, |ring, done, rest| {
            let from = part[done..].as_ptr();
            let request = opcode::WriteFixed::new(types::Fd(fd), from, rest as u32, 0);
            complete_one(ring, &request.offset(CURRENT).build())
        })
    })
}

/// `IORING_OP_WRITE` to a registered file: the request has an index instead of an fd.
pub(crate) fn registered_file(ledger: &mut Ledger, fd: RawFd, sizes: &[usize]) -> Result<()> {
    let mut ring = ring()?;
    ring.submitter().register_files(&[fd]).context("register files")?;
    sizes.iter().try_for_each(|size| {
        let bytes = content::fresh(*size);
        transfer(ledger, &mut ring, fd, *size, |ring, done, rest| {
            let from = bytes[done..].as_ptr();
            let request = opcode::Write::new(types::Fixed(0), from, rest as u32);
            complete_one(ring, &request.offset(CURRENT).build())
        })
    })
}

/// `IORING_OP_SEND`.
pub(crate) fn send(ledger: &mut Ledger, fd: RawFd, sizes: &[usize]) -> Result<()> {
    let mut ring = ring()?;
    sizes.iter().try_for_each(|size| {
        let bytes = content::fresh(*size);
        transfer(ledger, &mut ring, fd, *size, |ring, done, rest| {
            let request = opcode::Send::new(types::Fd(fd), bytes[done..].as_ptr(), rest as u32);
            complete_one(ring, &request.build())
        })
    })
}

/// `IORING_OP_SENDMSG` with three segments.
pub(crate) fn sendmsg(ledger: &mut Ledger, fd: RawFd, sizes: &[usize]) -> Result<()> {
    let mut ring = ring()?;
    sizes.iter().try_for_each(|size| {
        let bytes = content::fresh(*size);
        transfer(ledger, &mut ring, fd, *size, |ring, done, _| {
            let mut segments = segments(&bytes[done..]);
            let message = message(&mut segments);
            complete_one(ring, &opcode::SendMsg::new(types::Fd(fd), &raw const message).build())
        })
    })
}

/// `IORING_OP_SPLICE` from a pipe.
pub(crate) fn splice(ledger: &mut Ledger, fd: RawFd, sizes: &[usize]) -> Result<()> {
    const NO_OFFSET: i64 = -1;
    let mut ring = ring()?;
    let source = SourcePipe::open()?;
    let sizes = sizes.iter().map(|size| (*size).min(SourcePipe::CAPACITY));
    for size in sizes {
        source.fill(size)?;
        transfer(ledger, &mut ring, fd, size, |ring, _, rest| {
            let (from, to) = (types::Fd(source.read_end()), types::Fd(fd));
            let request = opcode::Splice::new(from, NO_OFFSET, to, NO_OFFSET, rest as u32);
            complete_one(ring, &request.build())
        })?;
    }
    Ok(())
}

/// Submits a write request per size, all at once, and repeats short ones for the rest.
fn write_batch(
    ledger: &mut Ledger,
    ring: &mut IoUring,
    fd: RawFd,
    sizes: &[usize],
    flags: squeue::Flags,
) -> Result<()> {
    let bytes: Vec<_> = sizes.iter().map(|size| content::fresh(*size)).collect();
    let mut rest: Vec<usize> = sizes.to_vec();
    while rest.iter().any(|rest| *rest > 0) {
        let requests = rest.iter().enumerate().filter(|(_, rest)| **rest > 0);
        let mut in_flight = 0;
        for (index, rest) in requests {
            let from = bytes[index][sizes[index] - rest..].as_ptr();
            let request = opcode::Write::new(types::Fd(fd), from, *rest as u32);
            let entry = request.offset(CURRENT).build().flags(flags).user_data(index as u64);
            push(ring, &entry)?;
            in_flight += 1;
        }
        for (index, outcome) in complete(ring, in_flight)? {
            let index = index as usize;
            match ledger.note(fd, rest[index], outcome) {
                Ok(written) => rest[index] -= written,
                Err(errno) => bail!("request of {} bytes failed: errno {errno}", rest[index]),
            }
        }
    }
    Ok(())
}

/// [`Ledger::transfer`] for requests; also returns errors of the ring itself.
fn transfer(
    ledger: &mut Ledger,
    ring: &mut IoUring,
    fd: RawFd,
    size: usize,
    mut attempt: impl FnMut(&mut IoUring, usize, usize) -> Result<Outcome>,
) -> Result<()> {
    let mut ring_error = None;
    let transferred = ledger.transfer(fd, size, |done, rest| {
        attempt(ring, done, rest).unwrap_or_else(|error| {
            ring_error = Some(error);
            Err(libc::EIO)
        })
    });
    ring_error.map_or(transferred, Err)
}

fn complete_one(ring: &mut IoUring, entry: &squeue::Entry) -> Result<Outcome> {
    push(ring, entry)?;
    let completions = complete(ring, 1)?;
    completions.first().map(|(_, outcome)| *outcome).context("no completion")
}

pub(crate) fn push(ring: &mut IoUring, entry: &squeue::Entry) -> Result<()> {
    // SAFETY: the memory that the entry points to outlives `complete`, which every caller calls next.
    unsafe { ring.submission().push(entry) }.context("the submission queue is full")
}

/// Submits the queue and waits for `count` completions.
pub(crate) fn complete(ring: &mut IoUring, count: usize) -> Result<Vec<(u64, Outcome)>> {
    let mut completions = Vec::new();
    while completions.len() < count {
        match ring.submit_and_wait(count - completions.len()) {
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error).context("io_uring_enter"),
        }
        completions.extend(ring.completion().map(|done| {
            let outcome = usize::try_from(done.result()).map_err(|_| -done.result());
            (done.user_data(), outcome)
        }));
    }
    ensure!(completions.len() == count, "{} completions of {count}", completions.len());
    Ok(completions)
}

pub(crate) fn ring() -> Result<IoUring> {
    supported(IoUring::new(ENTRIES))
}

/// The same, for requests that tell nothing when they succeed (`IOSQE_CQE_SKIP_SUCCESS`, since Linux 5.17).
pub(crate) fn silent_ring() -> Result<IoUring> {
    let ring = ring()?;
    if !ring.params().is_feature_skip_cqe_on_success() {
        return Err(Unsupported("no IOSQE_CQE_SKIP_SUCCESS".to_owned()).into());
    }
    Ok(ring)
}

fn supported(ring: std::io::Result<IoUring>) -> Result<IoUring> {
    ring.map_err(|error| match error.raw_os_error() {
        Some(libc::ENOSYS) | Some(libc::EPERM) => {
            Unsupported(format!("io_uring is not available: {error}")).into()
        }
        _ => anyhow::Error::from(error).context("io_uring_setup"),
    })
}
