//! Calls that move bytes inside the kernel: no buffer of the program is ever written.

use std::{
    os::fd::{AsRawFd, RawFd},
    ptr::null_mut,
};

use anyhow::Result;

use super::{
    plain::piece,
    source::{self, SourcePipe},
};
use crate::{fresh, ledger::Ledger, sys};

const NO_OFFSET: *mut libc::loff_t = null_mut();

/// `sendfile(2)` from a file; what busybox `cat` does.
pub(crate) fn sendfile(ledger: &mut Ledger, fd: RawFd, sizes: &[usize]) -> Result<()> {
    sizes.iter().try_for_each(|size| {
        let source = source::file(*size)?;
        ledger.transfer(fd, *size, |_, rest| {
            // SAFETY: the offset is null: the source's own position is used and moved.
            sys::outcome(unsafe {
                libc::syscall(libc::SYS_sendfile, fd, source.as_raw_fd(), NO_OFFSET, rest)
            })
        })
    })
}

/// `copy_file_range(2)` from file to file; what coreutils `cat f > g` does.
pub(crate) fn copy_file_range(ledger: &mut Ledger, fd: RawFd, sizes: &[usize]) -> Result<()> {
    sizes.iter().try_for_each(|size| {
        let source = source::file(*size)?;
        ledger.transfer(fd, *size, |_, rest| {
            let from = source.as_raw_fd();
            // SAFETY: both offsets are null: the files' own positions are used and moved.
            sys::outcome(unsafe {
                libc::syscall(libc::SYS_copy_file_range, from, NO_OFFSET, fd, NO_OFFSET, rest, 0)
            })
        })
    })
}

/// `splice(2)` from a pipe, which is emptied by it.
pub(crate) fn splice(ledger: &mut Ledger, fd: RawFd, sizes: &[usize]) -> Result<()> {
    let source = SourcePipe::open()?;
    in_chunks(sizes, |chunk| {
        source.fill(chunk)?;
        ledger.transfer(fd, chunk, |_, rest| {
            // SAFETY: both offsets are null, as they must be for pipes.
            sys::outcome(unsafe {
                libc::syscall(libc::SYS_splice, source.end(), NO_OFFSET, fd, NO_OFFSET, rest, 0)
            })
        })
    })
}

/// `tee(2)` from a pipe, which keeps the bytes: they are read out of it afterwards.
pub(crate) fn tee(ledger: &mut Ledger, fd: RawFd, sizes: &[usize]) -> Result<()> {
    let source = SourcePipe::open()?;
    in_chunks(sizes, |chunk| {
        source.fill(chunk)?;
        let mut stuck = Ok(());
        ledger.transfer(fd, chunk, |_, rest| {
            // SAFETY: takes no pointer.
            let copied =
                sys::outcome(unsafe { libc::syscall(libc::SYS_tee, source.end(), fd, rest, 0) })?;
            stuck = source.drop_bytes(copied);
            Ok(copied)
        })?;
        stuck
    })
}

/// `vmsplice(2)`: the pipe refers to the program's own pages.
pub(crate) fn vmsplice(ledger: &mut Ledger, fd: RawFd, sizes: &[usize]) -> Result<()> {
    sizes.iter().try_for_each(|size| {
        let bytes = fresh::bytes(*size);
        ledger.transfer(fd, *size, |done, _| {
            let table = piece(&bytes[done..]);
            // SAFETY: the bytes are never freed.
            sys::outcome(unsafe { libc::syscall(libc::SYS_vmsplice, fd, &raw const table, 1, 0) })
        })
    })
}

/// Runs `step` on each size, cut to what the source pipe can hold.
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
