//! The environment variables that `cargo xtask` itself leaves behind, and how to drop them.
//!
//! `cargo run` and rustup's proxies describe the xtask package and its compiler to us. Passed
//! on, they would choose the wrong compiler for the BPF build, point the dynamic linker at
//! foreign libraries, and show up in whatever the tool starts and watches.

use std::{
    env,
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
    process::Command,
};

/// Set by `cargo run` or rustup for their child only; they mean nothing to a grandchild.
const FROM_CARGO_RUN: [&str; 6] = [
    "CARGO_MAKEFLAGS",
    "CARGO_MANIFEST_DIR",
    "CARGO_MANIFEST_PATH",
    "CARGO_PRIMARY_PACKAGE",
    "OUT_DIR",
    "RUST_RECURSION_COUNT",
];

/// What a user may set for builds on the host, and what must not reach the BPF build.
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

/// Drops what describes the xtask package, for a program that is cargo again.
pub fn forget_this_package(command: &mut Command, target: &Path) {
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

/// Drops every trace of cargo, for a program that has nothing to do with it.
pub fn forget_cargo(command: &mut Command, target: &Path) {
    forget_this_package(command, target);
    command.env_remove("CARGO");
    // rustup's proxy sets the toolchain it chose; only a user's own choice stays.
    if env::var_os("RUSTUP_TOOLCHAIN_SOURCE").is_some_and(|source| source != "env") {
        command.env_remove("RUSTUP_TOOLCHAIN");
    }
    command.env_remove("RUSTUP_TOOLCHAIN_SOURCE");
}

/// Drops what selects or configures the compiler of the host.
pub fn forget_host_compiler(command: &mut Command) {
    for name in HOST_COMPILER {
        command.env_remove(name);
    }
}

/// The toolchain that runs us: `cargo run` puts its libraries in front of `LD_LIBRARY_PATH`.
fn toolchain_dir() -> Option<PathBuf> {
    let cargo = PathBuf::from(env::var_os("CARGO")?);
    let dir = cargo.parent()?.parent()?.join("lib");
    // A cargo in /usr/bin would make this /usr/lib, which a user may well have listed himself.
    (!dir.starts_with("/usr")).then_some(dir)
}

/// A search path without the directories under `unwanted`, or `None` if nothing remains.
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
