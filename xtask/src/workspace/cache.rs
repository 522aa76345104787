//! The user's cache directory, which all checkouts share.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::command;

/// tracer's directory in the cache. The error names `what` is to be stored there.
pub fn directory(what: &str) -> Result<PathBuf> {
    let cache = env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .filter(|dir| dir.is_absolute()) // XDG specification: relative paths are invalid
        .or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cache")))
        .with_context(|| format!("set HOME: {what} is kept in a cache there"))?;
    Ok(cache.join("tracer"))
}

/// Copies a file or a folder into the cache. A rename completes the copy, so that `to` is never partial.
pub fn store(from: &Path, to: &Path) -> Result<()> {
    let folder = to.parent().context("no place in the cache")?;
    let partial = folder.join("partial");
    let cannot = || format!("cannot write {}", to.display());
    fs::create_dir_all(folder).with_context(cannot)?;
    // An interrupted copy may have left one.
    command::run(Command::new("rm").args(["-rf", "--"]).arg(&partial))?;
    command::run(Command::new("cp").args(["-aH", "--"]).arg(from).arg(&partial))?;
    fs::rename(&partial, to).with_context(cannot)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_replaces_a_partial_one() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("cache/to"));
        fs::create_dir_all(from.join("below")).unwrap();
        fs::write(from.join("below/file"), "x").unwrap();
        fs::create_dir_all(folder.path().join("cache/partial/old")).unwrap();
        store(&from, &to).unwrap();
        assert_eq!(fs::read(to.join("below/file")).unwrap(), b"x");
        assert!(!to.join("old").exists());
    }
}
