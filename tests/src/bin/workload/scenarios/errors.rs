//! Failed, short and empty writes.

use anyhow::{Result, ensure};

use crate::{ledger::Ledger, sys};

/// Writes to pipes without a reader. The Rust runtime ignores SIGPIPE.
pub(crate) fn epipe(ledger: &mut Ledger) -> Result<()> {
    for size in [10, 20, 30] {
        ledger.write_failing(1, size, libc::EPIPE)?;
    }
    ledger.write_failing(2, 5, libc::EPIPE)
}

/// Fills a non-blocking pipe that is not read; the next writes fail.
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

/// A write to a full non-blocking pipe fails and is repeated after the pipe was enlarged.
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

/// Writes to a closed fd 1.
pub(crate) fn ebadf(ledger: &mut Ledger) -> Result<()> {
    ledger.write(1, 21)?;
    sys::close(1)?;
    ledger.write_failing(1, 100, libc::EBADF)?;
    ledger.write_failing(1, 200, libc::EBADF)?;
    ledger.write(2, 12)
}

/// Writes to a full device.
pub(crate) fn enospc(ledger: &mut Ledger) -> Result<()> {
    ledger.write_failing(1, 1, libc::ENOSPC)?;
    ledger.write_failing(1, 5000, libc::ENOSPC)?;
    ledger.write_failing(2, 3, libc::ENOSPC)
}

/// Writes to a hung-up terminal.
pub(crate) fn eio(ledger: &mut Ledger) -> Result<()> {
    ledger.write_failing(1, 40, libc::EIO)?;
    ledger.write_failing(2, 41, libc::EIO)
}

/// Writes more than the capacity of a non-blocking pipe, which accepts a part.
pub(crate) fn short(ledger: &mut Ledger) -> Result<()> {
    sys::set_nonblocking(1, true)?;
    let capacity = sys::pipe_capacity(1)?;
    let requested = capacity + 34_465;
    let written = ledger.note(1, requested, sys::write(1, &vec![b'x'; requested]));
    ensure!(written == Ok(capacity), "write of {requested} returned {written:?}");
    ledger.write_failing(1, requested - capacity, libc::EAGAIN)?;
    ledger.write(2, 9)
}

/// Makes writes of 0 bytes between other writes.
pub(crate) fn zero(ledger: &mut Ledger) -> Result<()> {
    for size in [0, 5, 0, 0, 9] {
        ledger.write(1, size)?;
    }
    ledger.write(2, 0)
}
