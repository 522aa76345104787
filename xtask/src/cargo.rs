//! The one way to start cargo from a task.

use std::{env, ffi::OsStr, process::Command};

use crate::{environment, workspace::Workspace};

/// cargo in the workspace, with the same target directory as the cargo that started us and
/// without what that one said about the xtask package.
pub fn cargo(workspace: &Workspace) -> Command {
    with_program(workspace, program())
}

/// Like [`cargo`], but starting a program that stands in for it, such as `cargo-deny`.
pub fn with_program(workspace: &Workspace, program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(workspace.root());
    environment::forget_this_package(&mut command, workspace.target());
    command.env("CARGO_TARGET_DIR", workspace.target());
    command
}

/// The cargo that started us, or the one in `PATH`.
pub fn program() -> std::ffi::OsString {
    env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}
