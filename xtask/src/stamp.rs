//! Small files under the target directory in which a task remembers what it found, so that it
//! need not look again. A stamp that cannot be read is only a reason to look again.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path};

use anyhow::{Context as _, Result};

/// What was remembered, if anything.
pub(crate) fn read(stamp: &Path) -> Option<String> {
    fs::read_to_string(stamp).ok()
}

/// Remembers `content`.
pub(crate) fn write(stamp: &Path, content: &str) -> Result<()> {
    if let Some(dir) = stamp.parent() {
        fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
    }
    fs::write(stamp, content).with_context(|| format!("cannot write {}", stamp.display()))
}

/// Forgets, so that an interrupted task is done again.
pub(crate) fn forget(stamp: &Path) -> Result<()> {
    match fs::remove_file(stamp) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", stamp.display()))
        }
        _ => Ok(()),
    }
}

/// What changes when a file changes: its length and its time of modification.
pub(crate) fn identity(file: &Path) -> Option<String> {
    let meta = file.metadata().ok()?;
    Some(format!("{} {}.{:09}", meta.len(), meta.mtime(), meta.mtime_nsec()))
}
