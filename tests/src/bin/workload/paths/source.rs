//! Where the copying calls take their bytes from: a file or a pipe of the workload's own.

use std::{
    fs::{self, File},
    os::fd::{AsRawFd, OwnedFd, RawFd},
};

use anyhow::{Context, Result, ensure};
use tracer_tests::{procfs::own_pid, truth::path_from_env};

use crate::{fresh, sys};

/// A nameless file of `size` bytes, on the same file system as the harness's own files.
pub(crate) fn file(size: usize) -> Result<OwnedFd> {
    let path = path_from_env()?.with_extension(format!("source-{}", own_pid()?));
    // Out of the way before it is filled: where fd 1 is closed, a new file gets that number.
    let file = sys::out_of_the_way(File::create_new(&path)?.into())?;
    ensure!(sys::write(file.as_raw_fd(), fresh::bytes(size)) == Ok(size), "cannot fill a file");
    drop(file);
    let file = sys::out_of_the_way(File::open(&path)?.into())?;
    fs::remove_file(&path)?;
    Ok(file)
}

/// A pipe that is filled and emptied around the calls under test.
#[derive(Debug)]
pub(crate) struct SourcePipe {
    read: OwnedFd,
    write: OwnedFd,
}

impl SourcePipe {
    /// An empty one.
    pub(crate) fn open() -> Result<Self> {
        let (read, write) = sys::pipe()?;
        Ok(Self { read, write })
    }

    /// How much it can hold at a time.
    pub(crate) const CAPACITY: usize = 65536;

    /// The end to take from.
    pub(crate) fn end(&self) -> RawFd {
        self.read.as_raw_fd()
    }

    /// Puts bytes in; there must be space.
    pub(crate) fn fill(&self, size: usize) -> Result<()> {
        let written = sys::write(self.write.as_raw_fd(), fresh::bytes(size));
        ensure!(written == Ok(size), "the source pipe took {written:?} of {size}");
        Ok(())
    }

    /// Takes bytes out by reading.
    pub(crate) fn drop_bytes(&self, size: usize) -> Result<()> {
        let mut rest = size;
        while rest > 0 {
            let read = sys::read(self.end(), &mut vec![0; rest]);
            let read = read.map_err(std::io::Error::from_raw_os_error).context("source pipe")?;
            ensure!(read > 0, "the source pipe ended");
            rest -= read;
        }
        Ok(())
    }
}
