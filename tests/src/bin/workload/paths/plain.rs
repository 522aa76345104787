//! `write`, `pwrite64` and the vectored calls.

use std::{ffi::c_long, os::fd::RawFd};

use anyhow::Result;
use tracer_tests::content;

use crate::{ledger::Ledger, sys};

/// `write(2)`.
pub(crate) fn write(ledger: &mut Ledger, fd: RawFd, sizes: &[usize]) -> Result<()> {
    sizes.iter().try_for_each(|size| {
        let bytes = content::fresh(*size);
        ledger.transfer(fd, *size, |done, _| sys::write(fd, &bytes[done..]))
    })
}

/// `pwrite64(2)` at the file's current position.
pub(crate) fn pwrite64(ledger: &mut Ledger, fd: RawFd, sizes: &[usize]) -> Result<()> {
    at_position(ledger, fd, sizes, |bytes, position| {
        // SAFETY: the buffer is valid for its length during the call.
        sys::outcome(unsafe {
            libc::syscall(libc::SYS_pwrite64, fd, bytes.as_ptr(), bytes.len(), position)
        })
    })
}

/// `writev(2)` with three segments of different lengths.
pub(crate) fn writev(ledger: &mut Ledger, fd: RawFd, sizes: &[usize]) -> Result<()> {
    sizes.iter().try_for_each(|size| {
        let bytes = content::fresh(*size);
        ledger.transfer(fd, *size, |done, _| {
            let segments = segments(&bytes[done..]);
            // SAFETY: each segment is in `bytes`, which outlives the call.
            sys::outcome(unsafe {
                libc::syscall(libc::SYS_writev, fd, segments.as_ptr(), segments.len())
            })
        })
    })
}

/// `pwritev(2)` with three segments, at the file's current position.
pub(crate) fn pwritev(ledger: &mut Ledger, fd: RawFd, sizes: &[usize]) -> Result<()> {
    at_position(ledger, fd, sizes, |bytes, position| {
        let segments = segments(bytes);
        // SAFETY: each segment is in `bytes`, which outlives the call.
        sys::outcome(unsafe {
            libc::syscall(libc::SYS_pwritev, fd, segments.as_ptr(), segments.len(), position, 0)
        })
    })
}

/// `pwritev2(2)` with three segments, at the file's current position, without flags.
pub(crate) fn pwritev2(ledger: &mut Ledger, fd: RawFd, sizes: &[usize]) -> Result<()> {
    at_position(ledger, fd, sizes, |bytes, position| {
        let segments = segments(bytes);
        // SAFETY: each segment is in `bytes`, which outlives the call.
        sys::outcome(unsafe {
            libc::syscall(libc::SYS_pwritev2, fd, segments.as_ptr(), segments.len(), position, 0, 0)
        })
    })
}

/// Splits `bytes` into three segments of different lengths; some can be empty.
pub(crate) fn segments(bytes: &[u8]) -> [libc::iovec; 3] {
    let (first, rest) = bytes.split_at(bytes.len() / 5);
    let (second, third) = rest.split_at(rest.len() / 3);
    [first, second, third].map(segment)
}

/// A slice as an `iovec`.
pub(crate) fn segment(bytes: &[u8]) -> libc::iovec {
    libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() }
}

/// Writes at the current position and advances it. All processes share the position, so the final
/// length of the file is the sum of their writes.
pub(crate) fn at_position(
    ledger: &mut Ledger,
    fd: RawFd,
    sizes: &[usize],
    call: impl Fn(&[u8], c_long) -> sys::Outcome,
) -> Result<()> {
    for size in sizes {
        let bytes = content::fresh(*size);
        let start = seek(fd, 0)?;
        ledger.transfer(fd, *size, |done, _| call(&bytes[done..], start + done as c_long))?;
        seek(fd, *size as c_long)?;
    }
    Ok(())
}

fn seek(fd: RawFd, by: c_long) -> Result<c_long> {
    // SAFETY: takes no pointer.
    Ok(sys::check("lseek", unsafe { libc::lseek(fd, by, libc::SEEK_CUR) })? as c_long)
}
