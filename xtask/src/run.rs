//! Builds what changed and becomes the tool.

use std::{ffi::OsString, os::unix::process::CommandExt as _, process::Command};

use anyhow::Error;
use xtask::{
    build::{self, Profile},
    environment,
    setup::{self, Extras},
    workspace::Workspace,
};

/// Replaces this process by the tool; returns only if that was not possible.
pub(crate) fn run(workspace: &Workspace, args: &[OsString]) -> Error {
    let tool = setup::ensure(workspace, Extras::default())
        .and_then(|ready| build::build_if_changed(workspace, &ready, Profile::Release));
    let tool = match tool {
        Ok(tool) => tool,
        Err(error) => return error,
    };
    let mut command = Command::new(&tool);
    command.args(args);
    // What the tool starts and watches should see the user's environment, not cargo's.
    environment::forget_cargo(&mut command, workspace.target());
    let error = command.exec();
    Error::new(error).context(format!("cannot start {}", tool.display()))
}
