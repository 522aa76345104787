//! Hands a task to the crate `bench`, so that only who asks for it compiles it.

use std::{ffi::OsStr, process::Command};

use xtask::{cargo, workspace::Workspace};

/// Builds the crate and runs its task of this name with these arguments.
pub(crate) fn command(
    workspace: &Workspace,
    task: &str,
    args: impl IntoIterator<Item = impl AsRef<OsStr>>,
) -> Command {
    let mut run = cargo::cargo(workspace);
    // Relative paths among the arguments are relative to the user's directory.
    run.current_dir(".")
        .args(["run", "--quiet", "--package", "bench", "--manifest-path"])
        .arg(workspace.root().join("Cargo.toml"))
        .args(["--", task])
        .args(args);
    run
}
