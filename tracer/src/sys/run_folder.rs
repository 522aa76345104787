//! Folders of this process below `/run/tracer`, which only root can enter.

use std::{
    fs::{self, DirBuilder},
    io,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _},
    path::{Path, PathBuf},
};

use super::processes::exists;

/// Where tracer's folders are.
pub(crate) const RUN: &str = "/run/tracer";

/// A folder that is removed when this is dropped.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
}

impl RunFolder {
    /// Makes the folder of this process for a purpose. Removes those of processes that have ended.
    ///
    /// # Errors
    /// An error if it cannot be made, or if [`RUN`] is not root's alone.
    pub fn make(purpose: &str) -> io::Result<Self> {
        let mut private = DirBuilder::new();
        private.mode(0o700);
        match private.create(RUN) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let found = fs::symlink_metadata(RUN)?;
        if !found.is_dir() || found.uid() != 0 || found.mode() & 0o077 != 0 {
            let text = format!("{RUN} is not a folder of root's alone");
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
        }
        for entry in fs::read_dir(RUN)?.flatten() {
            let name = entry.file_name();
            let pid = name.to_str().and_then(|name| name.strip_prefix(purpose)?.strip_prefix('-'));
            let pid = pid.and_then(|pid| pid.parse::<u32>().ok());
            if pid.is_some_and(|pid| !exists(pid)) {
                // Another tracer may be faster.
                let _ = fs::remove_dir_all(entry.path());
            }
        }
        let path = Path::new(RUN).join(format!("{purpose}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        private.create(&path)?;
        Ok(Self { path })
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for RunFolder {
    fn drop(&mut self) {
        // The next tracer removes what is left.
        let _ = fs::remove_dir_all(&self.path);
    }
}
