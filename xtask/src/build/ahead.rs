//! Compiles what the tool needs before the eBPF object is there.
//!
//! On an empty machine, the compiler of the eBPF programs is downloaded and bpf-linker is built first. Neither keeps all
//! processors busy.

use std::process::{Child, Stdio};

use anyhow::{Context as _, Result};

use super::{OBJECT_VARIABLE, tool_build};
use crate::{
    cargo,
    workspace::{Profile, Workspace},
};

/// A cargo that compiles the tool's dependencies. The build of the tool waits until it has ended, because cargo locks
/// the target directory.
pub struct Ahead(Child);

impl Ahead {
    /// Starts it, if the tool was never built.
    ///
    /// # Errors
    ///
    /// cargo cannot be started.
    pub fn start(workspace: &Workspace, profile: Profile) -> Result<Option<Self>> {
        if workspace.tool(profile).exists() {
            return Ok(None);
        }
        let mut build = tool_build(workspace, profile);
        // Without the object, the build script of tracer-loader fails. cargo then goes on with all crates that do not
        // depend on it. It prints nothing: the build of the tool repeats what really fails.
        build.arg("--keep-going").env(OBJECT_VARIABLE, workspace.target().join("no-object-yet"));
        build.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = build
            .spawn()
            .with_context(|| format!("cannot start {}", cargo::program().display()))?;
        Ok(Some(Self(child)))
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        // After an error, nothing waits for it. Both calls fail only for a child that has been waited for.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
