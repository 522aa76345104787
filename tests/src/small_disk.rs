//! A file system of a test's own, with so much room.

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

/// It is unmounted when this is dropped.
#[derive(Debug)]
pub struct SmallDisk(TempDir);

impl SmallDisk {
    /// Mounts it.
    pub fn mount(bytes: usize) -> Result<Self> {
        privilege::require_root()?;
        let directory = tempfile::tempdir()?;
        let options = CString::new(format!("size={bytes},mode=0700"))?;
        mount("tmpfs", directory.path(), "tmpfs", MountFlags::empty(), options.as_c_str())?;
        Ok(Self(directory))
    }

    /// Leaves so many bytes of it free.
    pub fn fill_up_to(&self, bytes: u64) -> Result<()> {
        let path = self.join("filling");
        let mut filling = File::create(&path)?;
        let full = loop {
            if let Err(error) = filling.write_all(&[0; 4096]) {
                break error;
            }
        };
        anyhow::ensure!(full.kind() == ErrorKind::StorageFull, "{full}");
        let length = fs::metadata(&path)?.len();
        filling.set_len(length.saturating_sub(bytes)).context("cannot make room")
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
        // The directory stays behind if this fails, which the next line then reports.
        let _ = unmount(self.0.path(), UnmountFlags::DETACH);
    }
}
