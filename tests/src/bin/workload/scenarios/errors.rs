//! Writes that the kernel refuses, cuts or finds empty.

use anyhow::{Result, ensure};

use crate::{ledger::Ledger, sys};

/// The reader is gone: three refusals on each stream. SIGPIPE is ignored, as Rust programs do.
pub(crate) fn epipe(ledger: &mut Ledger) -> Result<()> {
    for size in [10, 20, 30] {
        ledger.write_failing(1, size, libc::EPIPE)?;
    }
    ledger.write_failing(2, 5, libc::EPIPE)
}

/// Nobody reads a non-blocking pipe: it fills, and what comes after is refused.
pub(crate) fn eagain(ledger: &mut Ledger) -> Result<()> {
    const SIZE: usize = 4096;
    ledger.write(2, 33)?;
    sys::set_nonblocking(1, true)?;
    for _ in 0..sys::pipe_capacity(1)? / SIZE {
        ledger.write(1, SIZE)?;
    }
    for size in [SIZE, 1, 300, 70_000] {
        ledger.write_failing(1, size, libc::EAGAIN)?;
    }
    Ok(())
}

/// A full non-blocking pipe refuses, is made larger, and takes what is offered again.
pub(crate) fn eagain_overcome(ledger: &mut Ledger) -> Result<()> {
    const SIZE: usize = 4096;
    sys::set_nonblocking(1, true)?;
    let capacity = sys::pipe_capacity(1)?;
    for _ in 0..capacity / SIZE {
        ledger.write(1, SIZE)?;
    }
    ledger.write_failing(1, 300, libc::EAGAIN)?;
    // SAFETY: takes no pointer.
    let grown = unsafe { libc::fcntl(1, libc::F_SETPIPE_SZ, i32::try_from(2 * capacity)?) };
    sys::check("F_SETPIPE_SZ", grown.into())?;
    ledger.write(1, 300)?;
    ledger.write(2, 34)
}

/// fd 1 is closed.
pub(crate) fn ebadf(ledger: &mut Ledger) -> Result<()> {
    ledger.write(1, 21)?;
    sys::close(1)?;
    ledger.write_failing(1, 100, libc::EBADF)?;
    ledger.write_failing(1, 200, libc::EBADF)?;
    ledger.write(2, 12)
}

/// The device is full.
pub(crate) fn enospc(ledger: &mut Ledger) -> Result<()> {
    ledger.write_failing(1, 1, libc::ENOSPC)?;
    ledger.write_failing(1, 5000, libc::ENOSPC)?;
    ledger.write_failing(2, 3, libc::ENOSPC)
}

/// The terminal has been hung up.
pub(crate) fn eio(ledger: &mut Ledger) -> Result<()> {
    ledger.write_failing(1, 40, libc::EIO)?;
    ledger.write_failing(2, 41, libc::EIO)
}

/// A non-blocking pipe with less room than offered takes a part.
pub(crate) fn short(ledger: &mut Ledger) -> Result<()> {
    sys::set_nonblocking(1, true)?;
    let capacity = sys::pipe_capacity(1)?;
    let offered = capacity + 34_465;
    let taken = ledger.note(1, offered, sys::write(1, &vec![b'x'; offered]));
    ensure!(taken == Ok(capacity), "write of {offered} returned {taken:?}");
    ledger.write_failing(1, offered - capacity, libc::EAGAIN)?;
    ledger.write(2, 9)
}

/// Writes of nothing, between writes of something.
pub(crate) fn zero(ledger: &mut Ledger) -> Result<()> {
    for size in [0, 5, 0, 0, 9] {
        ledger.write(1, size)?;
    }
    ledger.write(2, 0)
}
