//! Output outside fd 1 and fd 2, delayed output, and no output.

use std::{
    fs::{self, File},
    os::{fd::AsRawFd, unix::fs::MetadataExt},
    path::Path,
    ptr::null_mut,
    thread,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use tracer_tests::truth::path_from_env;

use crate::{
    ledger::Ledger,
    sys::{self, Unsupported},
};

/// Writes to fd 1 and fd 2, and to a log file on fd 9. The file is counted too; tests that do not trace
/// fd 9 must ignore it.
pub(crate) fn another_file(ledger: &mut Ledger) -> Result<()> {
    let file = File::create(path_from_env()?.with_extension("log"))?;
    sys::dup2(file.as_raw_fd(), 9)?;
    drop(file);
    ledger.write(1, 81)?;
    ledger.write(9, 8200)?;
    ledger.write(2, 83)
}

/// Makes fd 1 a file for some time and removes it; another file, on fd 9, gets its inode number. That
/// file is no stdout, so it is not counted.
pub(crate) fn reused_inode(ledger: &mut Ledger) -> Result<()> {
    const TRIES: usize = 50;
    let path = path_from_env()?.with_extension("output");
    let stdout = sys::dup(1)?;
    let file = File::create(&path)?;
    let inode = file.metadata()?.ino();
    sys::dup2(file.as_raw_fd(), 1)?;
    drop(file);
    ledger.write(1, 8100)?;
    sys::dup2(stdout, 1)?;
    sys::close(stdout)?;
    fs::remove_file(&path)?;
    let reused = (0..TRIES).find_map(|number| create_with_inode(&path, number, inode));
    let reused = reused.with_context(|| Unsupported("no inode number was reused".to_owned()))?;
    sys::dup2(reused.as_raw_fd(), 9)?;
    let mut uncounted = ledger.fresh()?;
    uncounted.write(9, 8300)?;
    ledger.write(1, 85)
}

fn create_with_inode(path: &Path, number: usize, inode: u64) -> Option<File> {
    let file = File::create(path.with_extension(number.to_string())).ok()?;
    file.metadata().is_ok_and(|metadata| metadata.ino() == inode).then_some(file)
}

/// Writes to a pipe on fd 1 and reads the bytes by `splice`, without a buffer.
pub(crate) fn spliced_away(ledger: &mut Ledger) -> Result<()> {
    const SIZE: usize = 8400;
    const NO_OFFSET: *mut libc::loff_t = null_mut();
    let file = File::create(path_from_env()?.with_extension("spliced"))?;
    let (read, write) = sys::pipe()?;
    sys::dup2(write.as_raw_fd(), 1)?;
    ledger.write(1, SIZE)?;
    let (from, to) = (read.as_raw_fd(), file.as_raw_fd());
    // SAFETY: both offsets are null.
    let moved = sys::outcome(unsafe {
        libc::syscall(libc::SYS_splice, from, NO_OFFSET, to, NO_OFFSET, SIZE, 0)
    });
    ensure!(moved == Ok(SIZE), "splice returned {moved:?}");
    ledger.write(2, 86)
}

/// Writes everything at the end, like a program that buffers its output.
pub(crate) fn held_back(ledger: &mut Ledger) -> Result<()> {
    thread::sleep(Duration::from_millis(1500));
    ledger.write(1, 5100)
}

/// Writes nothing.
pub(crate) fn silent(_ledger: &mut Ledger) -> Result<()> {
    Ok(())
}
