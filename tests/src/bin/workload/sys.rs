//! System calls by number, without retries, buffers and replacement by other calls.

use std::{
    ffi::c_long,
    fmt,
    os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd, RawFd},
    ptr::NonNull,
    sync::atomic::AtomicU32,
};

use anyhow::{Context, Result, ensure};
use tracer_tests::workload::SKIPPED;

/// The result of a call: a number, usually of bytes, or an errno.
pub(crate) type Outcome = Result<usize, i32>;

/// The kernel lacks a feature that the workload needs.
#[derive(Debug)]
pub(crate) struct Unsupported(pub(crate) String);

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unsupported {}

/// The exit code of a workload for this error.
pub(crate) fn exit_code_of(error: &anyhow::Error) -> i32 {
    if error.downcast_ref::<Unsupported>().is_some() { SKIPPED } else { 1 }
}

/// The errno of this thread's last failed call.
pub(crate) fn errno() -> i32 {
    std::io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

/// Converts a return value of `libc::syscall`.
pub(crate) fn outcome(returned: c_long) -> Outcome {
    usize::try_from(returned).map_err(|_| errno())
}

/// Converts a return value, with the call's name in the error. For calls that are not under test.
pub(crate) fn check(name: &str, returned: c_long) -> Result<usize> {
    outcome(returned).map_err(std::io::Error::from_raw_os_error).with_context(|| name.to_owned())
}

/// `write(2)`.
pub(crate) fn write(fd: RawFd, bytes: &[u8]) -> Outcome {
    // SAFETY: the buffer is valid for its length during the call.
    outcome(unsafe { libc::syscall(libc::SYS_write, fd, bytes.as_ptr(), bytes.len()) })
}

/// `read(2)`.
pub(crate) fn read(fd: RawFd, bytes: &mut [u8]) -> Outcome {
    // SAFETY: the buffer is valid for its length during the call.
    outcome(unsafe { libc::syscall(libc::SYS_read, fd, bytes.as_mut_ptr(), bytes.len()) })
}

/// `close(2)` of an fd number.
pub(crate) fn close(fd: RawFd) -> Result<()> {
    // SAFETY: the callers close inherited fds, which no Rust value owns.
    check("close", c_long::from(unsafe { libc::close(fd) })).map(drop)
}

/// `dup(2)`.
pub(crate) fn dup(fd: RawFd) -> Result<RawFd> {
    // SAFETY: takes no pointer.
    Ok(check("dup", c_long::from(unsafe { libc::dup(fd) }))? as RawFd)
}

/// `dup2(2)`.
pub(crate) fn dup2(from: RawFd, to: RawFd) -> Result<RawFd> {
    // SAFETY: takes no pointer; no Rust value owns `to`.
    Ok(check("dup2", c_long::from(unsafe { libc::dup2(from, to) }))? as RawFd)
}

/// `dup3(2)` with `O_CLOEXEC`.
pub(crate) fn dup3_cloexec(from: RawFd, to: RawFd) -> Result<()> {
    // SAFETY: takes no pointer; the workload keeps `to` free for this.
    check("dup3", c_long::from(unsafe { libc::dup3(from, to, libc::O_CLOEXEC) })).map(drop)
}

/// A copy of an fd at a number that is not a standard one.
pub(crate) fn dup3_free(fd: RawFd) -> Result<RawFd> {
    // SAFETY: takes no pointer.
    let copy = unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 10) };
    Ok(check("F_DUPFD_CLOEXEC", c_long::from(copy))? as RawFd)
}

/// `close_range(2)`.
pub(crate) fn close_range(first: RawFd, last: RawFd) -> Result<()> {
    // SAFETY: takes no pointer; the callers own these fds.
    check("close_range", unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) }).map(drop)
}

/// Moves an fd to a number of at least 100. A new fd can otherwise become fd 1 or fd 2 while these are
/// closed.
pub(crate) fn move_to_high_fd(fd: OwnedFd) -> Result<OwnedFd> {
    const FIRST: i32 = 100;
    // SAFETY: takes no pointer.
    let high = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, FIRST) };
    let high = check("F_DUPFD_CLOEXEC", c_long::from(high))? as RawFd;
    drop(fd);
    // SAFETY: the call above created this fd, and nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(high) })
}

/// The number of an fd that is no longer closed when dropped.
pub(crate) fn into_raw(fd: OwnedFd) -> RawFd {
    fd.into_raw_fd()
}

/// A pipe with high fd numbers.
pub(crate) fn pipe() -> Result<(OwnedFd, OwnedFd)> {
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    Ok((move_to_high_fd(read)?, move_to_high_fd(write)?))
}

/// Sets or clears `O_NONBLOCK`.
pub(crate) fn set_nonblocking(fd: RawFd, on: bool) -> Result<()> {
    // SAFETY: takes no pointer.
    let flags = check("F_GETFL", c_long::from(unsafe { libc::fcntl(fd, libc::F_GETFL) }))? as i32;
    let flags = if on { flags | libc::O_NONBLOCK } else { flags & !libc::O_NONBLOCK };
    // SAFETY: takes no pointer.
    check("F_SETFL", c_long::from(unsafe { libc::fcntl(fd, libc::F_SETFL, flags) })).map(drop)
}

/// Capacity of a pipe in bytes.
pub(crate) fn pipe_capacity(fd: RawFd) -> Result<usize> {
    // SAFETY: takes no pointer.
    check("F_GETPIPE_SZ", c_long::from(unsafe { libc::fcntl(fd, libc::F_GETPIPE_SZ) }))
}

/// Counters that this process shares with its children. They are 0.
pub(crate) fn shared_counters<const COUNT: usize>() -> Result<&'static [AtomicU32; COUNT]> {
    let size = std::mem::size_of::<[AtomicU32; COUNT]>();
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
    // SAFETY: a new anonymous mapping at an address of the kernel's choice.
    let start = unsafe { libc::mmap(std::ptr::null_mut(), size, protection, flags, -1, 0) };
    ensure!(start != libc::MAP_FAILED, "mmap: errno {}", errno());
    let start = NonNull::new(start.cast()).context("mapped at 0")?;
    // SAFETY: the mapping is never unmapped, is page-aligned, and all-zero is a valid value of atomics.
    Ok(unsafe { start.as_ref() })
}
