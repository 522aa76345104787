//! Output that is not on fd 1 or fd 2, and no output at all.

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

/// Something to fd 1 and fd 2, more to a log file on fd 9. The file is booked too: the tests
/// that leave other fds out of sight must not look at it.
pub(crate) fn another_file(ledger: &mut Ledger) -> Result<()> {
    let file = File::create(path_from_env()?.with_extension("log"))?;
    sys::dup2(file.as_raw_fd(), 9)?;
    drop(file);
    ledger.write(1, 81)?;
    ledger.write(9, 8200)?;
    ledger.write(2, 83)
}

/// fd 1 is a file for a while; the file is removed, and another one, on fd 9, gets its inode
/// number. The second file never was anybody's stdout: it is not booked.
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
    let namesake = (0..TRIES).find_map(|number| create_with_inode(&path, number, inode));
    let namesake = namesake.with_context(|| Unsupported("no inode is reused here".to_owned()))?;
    sys::dup2(namesake.as_raw_fd(), 9)?;
    let mut unseen = ledger.fresh()?;
    unseen.write(9, 8300)?;
    ledger.write(1, 85)
}

fn create_with_inode(path: &Path, number: usize, inode: u64) -> Option<File> {
    let file = File::create(path.with_extension(number.to_string())).ok()?;
    file.metadata().is_ok_and(|metadata| metadata.ino() == inode).then_some(file)
}

/// What goes to fd 1 is spliced out of the pipe again: no buffer is ever read into.
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

/// Nothing for a while, then everything at once: what a program that buffers looks like.
pub(crate) fn held_back(ledger: &mut Ledger) -> Result<()> {
    thread::sleep(Duration::from_millis(1500));
    ledger.write(1, 5100)
}

/// Nothing at all.
pub(crate) fn silent(_ledger: &mut Ledger) -> Result<()> {
    Ok(())
}
