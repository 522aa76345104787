//! Builds the eBPF object with the BPF compiler, then the tool with the object embedded.

mod ahead;
pub mod arm64;
pub mod dist;
mod fingerprint;
mod object;

use std::{path::PathBuf, process::Command};

use anyhow::Result;

pub use self::{ahead::Ahead, object::build as build_object};
use crate::{
    cargo,
    command::{self, say},
    setup::Ready,
    workspace::{Profile, Workspace},
};

/// The variable that names the eBPF object to the tool's build script.
pub const OBJECT_VARIABLE: &str = "TRACER_EBPF_OBJECT";

/// How much a build prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verbosity {
    /// cargo's own progress.
    Full,
    /// One line for each part that is built, warnings and errors.
    Brief,
}

/// Builds both parts and returns the path of the tool. cargo decides what is out of date.
pub fn build(
    workspace: &Workspace,
    ready: &Ready,
    profile: Profile,
    verbosity: Verbosity,
) -> Result<PathBuf> {
    let stamp = workspace.stamp(&format!("build-{}", profile.directory()));
    // Read before the build: a file that changes during the build makes the next build run again.
    let sources = fingerprint::of_sources(workspace, ready)?;
    stamp.remove()?;
    build_object(workspace, ready, verbosity)?;
    build_tool(workspace, profile, verbosity)?;
    stamp.write(&(sources + &fingerprint::of_products(workspace, profile)?))?;
    Ok(workspace.tool(profile))
}

/// Like [`build`], but does not start cargo if nothing changed since the last build.
pub fn build_if_changed(workspace: &Workspace, ready: &Ready, profile: Profile) -> Result<PathBuf> {
    let stamp = workspace.stamp(&format!("build-{}", profile.directory()));
    if let Some(built) = stamp.read()
        && let Ok(products) = fingerprint::of_products(workspace, profile)
        && built == fingerprint::of_sources(workspace, ready)? + &products
    {
        return Ok(workspace.tool(profile));
    }
    build(workspace, ready, profile, Verbosity::Brief)
}

fn build_tool(workspace: &Workspace, profile: Profile, verbosity: Verbosity) -> Result<()> {
    if verbosity == Verbosity::Brief {
        say("building the tool (the first time takes a few minutes)");
    }
    let mut build = tool_build(workspace, profile);
    if verbosity == Verbosity::Brief {
        build.arg("--quiet");
    }
    command::run(build.env(OBJECT_VARIABLE, workspace.ebpf_object()))
}

/// Builds what `tracer export` starts, beside the tool. The other builds leave it out, because Parquet takes long to compile.
pub fn build_export(workspace: &Workspace, profile: Profile) -> Result<()> {
    let mut build = cargo::cargo(workspace);
    build.args(["build", "--package", "tracer-export"]);
    if profile == Profile::Release {
        build.arg("--release");
    }
    command::run(&mut build)
}

/// The cargo command that builds the tool, if the eBPF object is named to it.
fn tool_build(workspace: &Workspace, profile: Profile) -> Command {
    let mut build = cargo::cargo(workspace);
    build.args(["build", "--package", "tracer"]);
    if profile == Profile::Release {
        build.arg("--release");
    }
    build
}
