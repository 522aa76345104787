//! Starts cargo, without the environment that the cargo of `cargo xtask` left behind.
//!
//! `cargo run` and rustup's proxies describe the package xtask and its compiler in variables. Passed on, these
//! select the wrong compiler for the BPF build and add directories to the dynamic linker's path. Programs that the
//! tool starts and watches inherit them too.

use std::{
    env,
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::workspace::Workspace;

/// cargo in the workspace, with the target directory of the cargo that started this process.
pub fn cargo(workspace: &Workspace) -> Command {
    with_program(workspace, program())
}

/// Like [`cargo`], for a program that replaces it, such as `cargo-deny`.
pub fn with_program(workspace: &Workspace, program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(workspace.root());
    forget_this_package(&mut command, workspace.target());
    command.env("CARGO_TARGET_DIR", workspace.target());
    command
}

/// The cargo that started this process, or the one in `PATH`.
pub fn program() -> OsString {
    env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// cargo's home directory.
///
/// # Errors
///
/// Neither `CARGO_HOME` nor `HOME` is set.
pub fn home() -> Result<PathBuf> {
    env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cargo")))
        .context("set HOME: cargo's home directory is there")
}

/// Builds and runs a task of the crate `bench`: `bench` or `storm`.
///
/// xtask does not depend on that crate, so that the first `cargo xtask run` does not compile it.
pub fn bench(
    workspace: &Workspace,
    task: &str,
    args: impl IntoIterator<Item = impl AsRef<OsStr>>,
) -> Command {
    let mut run = cargo(workspace);
    // Relative paths among the arguments are relative to the user's directory.
    run.current_dir(".")
        .args(["run", "--quiet", "--package", "bench", "--manifest-path"])
        .arg(workspace.root().join("Cargo.toml"))
        .args(["--", task])
        .args(args);
    run
}

/// Set by `cargo run` or rustup for their child process only.
const FROM_CARGO_RUN: [&str; 6] = [
    "CARGO_MAKEFLAGS",
    "CARGO_MANIFEST_DIR",
    "CARGO_MANIFEST_PATH",
    "CARGO_PRIMARY_PACKAGE",
    "OUT_DIR",
    "RUST_RECURSION_COUNT",
];

/// Settings of builds for the host, which must not affect the BPF build.
const HOST_COMPILER: [&str; 11] = [
    "CARGO_BUILD_RUSTC",
    "CARGO_BUILD_RUSTC_WORKSPACE_WRAPPER",
    "CARGO_BUILD_RUSTC_WRAPPER",
    "CARGO_BUILD_RUSTFLAGS",
    "CARGO_BUILD_TARGET",
    "CARGO_ENCODED_RUSTFLAGS",
    "CLIPPY_ARGS",
    "RUSTC",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTC_WRAPPER",
    "RUSTFLAGS",
];

/// Removes the variables that describe the package xtask, for a command that is cargo again.
pub(crate) fn forget_this_package(command: &mut Command, target: &Path) {
    for name in FROM_CARGO_RUN {
        command.env_remove(name);
    }
    for (name, _) in env::vars_os() {
        if name.to_string_lossy().starts_with("CARGO_PKG_") {
            command.env_remove(name);
        }
    }
    let Some(path) = env::var_os("LD_LIBRARY_PATH") else { return };
    match library_path_without(&path, &[Some(target.to_path_buf()), toolchain_dir()]) {
        Some(rest) => command.env("LD_LIBRARY_PATH", rest),
        None => command.env_remove("LD_LIBRARY_PATH"),
    };
}

/// Removes all variables of cargo and rustup, for a command that has nothing to do with them.
pub fn forget_cargo(command: &mut Command, target: &Path) {
    forget_this_package(command, target);
    command.env_remove("CARGO");
    // Set by rustup's proxy, unless the user chose the toolchain in the environment.
    if env::var_os("RUSTUP_TOOLCHAIN_SOURCE").is_some_and(|source| source != "env") {
        command.env_remove("RUSTUP_TOOLCHAIN");
    }
    command.env_remove("RUSTUP_TOOLCHAIN_SOURCE");
}

/// Removes the variables that select or configure the compiler of the host.
pub fn forget_host_compiler(command: &mut Command) {
    for name in HOST_COMPILER {
        command.env_remove(name);
    }
}

/// The libraries of the running toolchain, which `cargo run` adds to `LD_LIBRARY_PATH`.
fn toolchain_dir() -> Option<PathBuf> {
    let cargo = PathBuf::from(env::var_os("CARGO")?);
    let dir = cargo.parent()?.parent()?.join("lib");
    // For a cargo in /usr/bin this is /usr/lib, which may be the user's own entry.
    (!dir.starts_with("/usr")).then_some(dir)
}

/// A search path without the directories below `unwanted`; `None` if nothing remains.
fn library_path_without(path: &OsStr, unwanted: &[Option<PathBuf>]) -> Option<OsString> {
    let wanted: Vec<_> = env::split_paths(path)
        .filter(|dir| !unwanted.iter().flatten().any(|base| dir.starts_with(base)))
        .collect();
    if wanted.iter().all(|dir| dir.as_os_str().is_empty()) {
        return None;
    }
    env::join_paths(wanted).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn without(path: &str) -> Option<OsString> {
        let unwanted = [Some(PathBuf::from("/w/target")), Some(PathBuf::from("/tc/lib")), None];
        library_path_without(OsStr::new(path), &unwanted)
    }

    #[test]
    fn directories_that_cargo_added_leave_the_library_path() {
        let path = "/w/target/debug:/w/target/debug/deps:/tc/lib/rustlib/x/lib:/tc/lib";
        assert_eq!(without(path), None);
    }

    #[test]
    fn directories_of_the_user_stay_in_the_library_path() {
        assert_eq!(without("/w/target/debug:/opt/lib:/tc/lib"), Some("/opt/lib".into()));
        assert_eq!(without("/w/targeted"), Some("/w/targeted".into()));
    }
}
