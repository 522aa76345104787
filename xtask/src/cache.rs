//! The user's cache, which all checkouts share.

use std::{env, path::PathBuf};

use anyhow::{Context as _, Result};

/// Our part of the cache; `what` is kept there and is named if there is no such place.
pub(crate) fn directory(what: &str) -> Result<PathBuf> {
    let cache = env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .filter(|dir| dir.is_absolute()) // the XDG specification: relative paths are invalid
        .or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cache")))
        .with_context(|| format!("set HOME: {what} is kept in a cache there"))?;
    Ok(cache.join("tracer"))
}
