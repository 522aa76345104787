//! A small file system for tests of a full disk.

use std::{
    ffi::CString,
    fs::{self, File},
    io::{ErrorKind, Write as _},
    ops::Deref,
    path::Path,
};

use anyhow::{Context as _, Result};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use tempfile::TempDir;

use crate::privilege;

/// A tmpfs of limited size, unmounted when dropped.
#[derive(Debug)]
pub struct SmallDisk(TempDir);

impl SmallDisk {
    /// Mounts a tmpfs of this size.
    pub fn mount(bytes: usize) -> Result<Self> {
        privilege::require_root()?;
        let directory = tempfile::tempdir()?;
        let options = CString::new(format!("size={bytes},mode=0700"))?;
        mount("tmpfs", directory.path(), "tmpfs", MountFlags::empty(), options.as_c_str())?;
        Ok(Self(directory))
    }

    /// Fills it until this many bytes are free.
    pub fn fill_except(&self, bytes: u64) -> Result<()> {
        let path = self.join("filler");
        let mut filler = File::create(&path)?;
        let full = loop {
            if let Err(error) = filler.write_all(&[0; 4096]) {
                break error;
            }
        };
        anyhow::ensure!(full.kind() == ErrorKind::StorageFull, "{full}");
        let length = fs::metadata(&path)?.len();
        filler.set_len(length.saturating_sub(bytes)).context("cannot shrink the filler")
    }
}

impl Deref for SmallDisk {
    type Target = Path;

    fn deref(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // If this fails, the directory stays behind.
        let _ = unmount(self.0.path(), UnmountFlags::DETACH);
    }
}
