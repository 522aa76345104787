//! Facts for `tracer --version --verbose`: the commit, the compiler, the target, the features.
//!
//! The commit is only in optimised builds. Cargo runs this script again when a source or git's state changes, and then
//! compiles the crate again; a developer's debug builds would each time take longer.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

/// What the binary is made from, beside this package.
const SOURCES: [&str; 12] = [
    "Cargo.lock",
    "Cargo.toml",
    "tracer/Cargo.toml",
    "tracer/build.rs",
    "tracer/src",
    "tracer-common/src",
    "tracer-core/src",
    "tracer-ebpf/src",
    "tracer-gvisor/src",
    "tracer-history/src",
    "tracer-loader/src",
    "tracer-reach/src",
];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let of_cargo = |name| env::var(name).unwrap_or_default();
    let root = PathBuf::from(of_cargo("CARGO_MANIFEST_DIR")).join("..");
    let commit = match of_cargo("PROFILE").as_str() {
        "release" => commit(&root).unwrap_or_else(|| "unknown".to_owned()),
        _ => "not recorded in a debug build".to_owned(),
    };
    let rustc = output(Command::new(of_cargo("RUSTC")).arg("--version"));
    let features = of_cargo("CARGO_CFG_FEATURE");
    for (name, value) in [
        ("COMMIT", commit),
        ("RUSTC", rustc.unwrap_or_else(|| "unknown".to_owned())),
        ("TARGET", of_cargo("TARGET")),
        ("FEATURES", if features.is_empty() { "none".to_owned() } else { features }),
    ] {
        println!("cargo::rustc-env=TRACER_{name}={value}");
    }
}

/// The commit that is checked out, and whether the sources differ from it. `None` outside a clone: sources in an archive
/// that was unpacked inside another project's clone have no commit of tracer.
fn commit(root: &Path) -> Option<String> {
    let git = |args: &[&str]| output(Command::new("git").arg("-C").arg(root).args(args));
    let top = PathBuf::from(git(&["rev-parse", "--show-toplevel"])?);
    if top.canonicalize().ok()? != root.canonicalize().ok()? {
        return None;
    }
    for source in SOURCES {
        println!("cargo::rerun-if-changed={}", root.join(source).display());
    }
    // It grows with each commit, checkout and reset.
    let log = git(&["rev-parse", "--path-format=absolute", "--git-path", "logs/HEAD"])?;
    if Path::new(&log).exists() {
        println!("cargo::rerun-if-changed={log}");
    }
    let commit = git(&["show", "--no-patch", "--format=%h (%cs)", "--abbrev=12", "HEAD"])?;
    let changed = git(&[&["status", "--porcelain", "--"][..], &SOURCES].concat())?;
    Some(if changed.is_empty() { commit } else { format!("{commit}, with changes") })
}

/// The standard output of a program that succeeded.
fn output(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}
