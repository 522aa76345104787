//! Files and FIFOs that several processes use, one after the other.

use std::{env, fs::OpenOptions, os::fd::AsRawFd as _};

use anyhow::{Context as _, Result};

use crate::{ledger::Ledger, sys};

/// Appends to the file or FIFO that the second word of the command line names.
pub(crate) fn append(ledger: &mut Ledger) -> Result<()> {
    let path = env::args_os().nth(2).context("no path")?;
    let file = OpenOptions::new().append(true).create(true).open(path)?;
    sys::dup2(file.as_raw_fd(), 1)?;
    drop(file);
    for size in [1, 300, 9001] {
        ledger.write(1, size)?;
    }
    Ok(())
}

/// Reads fd 0 to its end.
pub(crate) fn read_stdin(ledger: &mut Ledger) -> Result<()> {
    let mut buffer = [0; 4096];
    while sys::read(0, &mut buffer).map_err(std::io::Error::from_raw_os_error)? > 0 {}
    ledger.write(1, 74)
}
