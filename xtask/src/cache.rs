//! The user's cache, which all checkouts share.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::command;

/// Our part of the cache; `what` is kept there and is named if there is no such place.
pub fn directory(what: &str) -> Result<PathBuf> {
    let cache = env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .filter(|dir| dir.is_absolute()) // the XDG specification: relative paths are invalid
        .or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cache")))
        .with_context(|| format!("set HOME: {what} is kept in a cache there"))?;
    Ok(cache.join("tracer"))
}

/// Copies a file or a folder into the cache. It is in its place in one step, so that what is there is whole.
pub fn keep(from: &Path, to: &Path) -> Result<()> {
    let folder = to.parent().context("no place in the cache")?;
    let partial = folder.join("partial");
    let cannot = || format!("cannot write {}", to.display());
    fs::create_dir_all(folder).with_context(cannot)?;
    // What an interrupted copy left.
    command::run(Command::new("rm").args(["-rf", "--"]).arg(&partial))?;
    command::run(Command::new("cp").args(["-aH", "--"]).arg(from).arg(&partial))?;
    fs::rename(&partial, to).with_context(cannot)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("cache/to"));
        fs::create_dir_all(from.join("below")).unwrap();
        fs::write(from.join("below/file"), "x").unwrap();
        fs::create_dir_all(folder.path().join("cache/partial/old")).unwrap();
        keep(&from, &to).unwrap();
        assert_eq!(fs::read(to.join("below/file")).unwrap(), b"x");
        assert!(!to.join("old").exists());
    }
}
