//! Installs the package in Debian's userlands, traces a command there, and removes the package again.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use xtask::{
    command::{self, say},
    workspace::{Workspace, cache},
};

use super::trial::{RECORDING, program};

/// Debian 11, 12 and 13.
const SUITES: [&str; 3] = ["bullseye", "bookworm", "trixie"];
/// What runs in a mount namespace of its own.
const SCRIPT: &str = include_str!("userland.sh");

/// Tries the package in each userland.
pub(super) fn try_all(workspace: &Workspace, deb: &Path) -> Result<()> {
    let recording = workspace.root().join(RECORDING.0);
    for suite in SUITES {
        let userland = ensure(suite)?;
        let scratch = tempfile::tempdir().context("cannot make a folder for a userland")?;
        let mut trial = program("unshare");
        trial.args(["--mount", "sh", "-c", SCRIPT, "userland.sh"]);
        trial.arg(&userland).arg(scratch.path()).arg(deb).arg(&recording).arg(RECORDING.1);
        command::capture(&mut trial)
            .with_context(|| format!("the package does not work in Debian {suite}"))?;
        say(&format!("{suite}: installed, traced, reported and removed without a trace"));
    }
    Ok(())
}

/// The folder of a userland in the cache, which debootstrap fills if it is missing.
fn ensure(suite: &str) -> Result<PathBuf> {
    let folder = cache::directory("userlands")?.join("userlands").join(suite);
    if folder.exists() {
        return Ok(folder);
    }
    say(&format!("putting Debian {suite} into {} (a minute or two)", folder.display()));
    let partial = folder.with_extension("partial");
    if partial.exists() {
        fs::remove_dir_all(&partial)
            .with_context(|| format!("cannot remove {}", partial.display()))?;
    }
    let mut debootstrap = program("debootstrap");
    command::run(debootstrap.args(["--variant=minbase", suite]).arg(&partial))?;
    fs::rename(&partial, &folder).with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(folder)
}
