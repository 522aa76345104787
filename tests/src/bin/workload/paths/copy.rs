//! Calls that copy bytes inside the kernel, without a buffer of the program.

use std::{
    os::fd::{AsRawFd, RawFd},
    ptr::null_mut,
};

use anyhow::Result;
use tracer_tests::content;

use super::{
    plain::segment,
    source::{self, SourcePipe},
};
use crate::{ledger::Ledger, sys};

const NO_OFFSET: *mut libc::loff_t = null_mut();

/// `sendfile(2)` from a file, as in busybox `cat`.
pub(crate) fn sendfile(ledger: &mut Ledger, fd: RawFd, sizes: &[usize]) -> Result<()> {
    sizes.iter().try_for_each(|size| {
        let source = source::file(*size)?;
        ledger.transfer(fd, *size, |_, rest| {
            // SAFETY: the offset is null, so the call uses the position of the source.
            sys::outcome(unsafe {
                libc::syscall(libc::SYS_sendfile, fd, source.as_raw_fd(), NO_OFFSET, rest)
            })
        })
    })
}

/// `copy_file_range(2)` from file to file, as in coreutils `cat f > g`.
pub(crate) fn copy_file_range(ledger: &mut Ledger, fd: RawFd, sizes: &[usize]) -> Result<()> {
    sizes.iter().try_for_each(|size| {
        let source = source::file(*size)?;
        ledger.transfer(fd, *size, |_, rest| {
            let from = source.as_raw_fd();
            // SAFETY: both offsets are null, so the call uses the positions of the files.
            sys::outcome(unsafe {
                libc::syscall(libc::SYS_copy_file_range, from, NO_OFFSET, fd, NO_OFFSET, rest, 0)
            })
        })
    })
}

/// `splice(2)` from a pipe, which it drains.
pub(crate) fn splice(ledger: &mut Ledger, fd: RawFd, sizes: &[usize]) -> Result<()> {
    let source = SourcePipe::open()?;
    in_chunks(sizes, |chunk| {
        source.fill(chunk)?;
        ledger.transfer(fd, chunk, |_, rest| {
            // SAFETY: both offsets are null, as they must be for pipes.
            sys::outcome(unsafe {
                libc::syscall(
                    libc::SYS_splice,
                    source.read_end(),
                    NO_OFFSET,
                    fd,
                    NO_OFFSET,
                    rest,
                    0,
                )
            })
        })
    })
}

/// `tee(2)` from a pipe. The bytes stay in the source pipe and are drained afterwards.
pub(crate) fn tee(ledger: &mut Ledger, fd: RawFd, sizes: &[usize]) -> Result<()> {
    let source = SourcePipe::open()?;
    in_chunks(sizes, |chunk| {
        source.fill(chunk)?;
        let mut drained = Ok(());
        ledger.transfer(fd, chunk, |_, rest| {
            // SAFETY: takes no pointer.
            let copied = sys::outcome(unsafe {
                libc::syscall(libc::SYS_tee, source.read_end(), fd, rest, 0)
            })?;
            drained = source.drain(copied);
            Ok(copied)
        })?;
        drained
    })
}

/// `vmsplice(2)`, after which the pipe refers to pages of the program.
pub(crate) fn vmsplice(ledger: &mut Ledger, fd: RawFd, sizes: &[usize]) -> Result<()> {
    sizes.iter().try_for_each(|size| {
        let bytes = content::fresh(*size);
        ledger.transfer(fd, *size, |done, _| {
            let table = segment(&bytes[done..]);
            // SAFETY: the bytes are never freed.
            sys::outcome(unsafe { libc::syscall(libc::SYS_vmsplice, fd, &raw const table, 1, 0) })
        })
    })
}

/// Runs `step` for each size, split into chunks of the source pipe's capacity.
fn in_chunks(sizes: &[usize], mut step: impl FnMut(usize) -> Result<()>) -> Result<()> {
    for size in sizes {
        let mut rest = *size;
        while rest > 0 {
            let chunk = rest.min(SourcePipe::CAPACITY);
            step(chunk)?;
            rest -= chunk;
        }
    }
    Ok(())
}
