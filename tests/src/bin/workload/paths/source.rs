//! Sources of the copying calls: a file or a pipe.

use std::{
    fs::{self, File},
    os::fd::{AsRawFd, OwnedFd, RawFd},
};

use anyhow::{Context, Result, ensure};
use tracer_tests::{content, procfs::own_pid, truth::path_from_env};

use crate::sys;

/// An unlinked file of `size` bytes, in the file system of the truth file.
pub(crate) fn file(size: usize) -> Result<OwnedFd> {
    let path = path_from_env()?.with_extension(format!("source-{}", own_pid()?));
    // Moved before it is filled: if fd 1 is closed, a new file gets that number.
    let file = sys::move_to_high_fd(File::create_new(&path)?.into())?;
    ensure!(sys::write(file.as_raw_fd(), content::fresh(size)) == Ok(size), "cannot fill a file");
    drop(file);
    let file = sys::move_to_high_fd(File::open(&path)?.into())?;
    fs::remove_file(&path)?;
    Ok(file)
}

/// A pipe that is filled before the call under test.
#[derive(Debug)]
pub(crate) struct SourcePipe {
    read: OwnedFd,
    write: OwnedFd,
}

impl SourcePipe {
    /// Creates an empty pipe.
    pub(crate) fn open() -> Result<Self> {
        let (read, write) = sys::pipe()?;
        Ok(Self { read, write })
    }

    /// Its capacity in bytes.
    pub(crate) const CAPACITY: usize = 65536;

    /// The read end.
    pub(crate) fn read_end(&self) -> RawFd {
        self.read.as_raw_fd()
    }

    /// Writes fresh bytes, for which there must be space.
    pub(crate) fn fill(&self, size: usize) -> Result<()> {
        let written = sys::write(self.write.as_raw_fd(), content::fresh(size));
        ensure!(written == Ok(size), "the source pipe accepted {written:?} of {size}");
        Ok(())
    }

    /// Reads and discards bytes.
    pub(crate) fn drain(&self, size: usize) -> Result<()> {
        let mut rest = size;
        while rest > 0 {
            let read = sys::read(self.read_end(), &mut vec![0; rest]);
            let read = read.map_err(std::io::Error::from_raw_os_error).context("source pipe")?;
            ensure!(read > 0, "the source pipe ended");
            rest -= read;
        }
        Ok(())
    }
}
