//! The inputs of a build as a text, which is equal as long as nothing changed.
//!
//! Starting cargo for an up-to-date build takes most of a second; comparing the modification times of a hundred
//! files takes a millisecond. The text is not hashed, so that `diff` shows the cause of a rebuild.

use std::{
    env,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use crate::{
    cargo,
    setup::Ready,
    workspace::{Profile, Workspace, file_identity},
};

/// The sources of the tool, from the top of the checkout.
const SOURCES: [&str; 11] = [
    ".cargo",
    "Cargo.lock",
    "Cargo.toml",
    "tracer",
    "tracer-common",
    "tracer-core",
    "tracer-ebpf",
    "tracer-gvisor",
    "tracer-history",
    "tracer-loader",
    "tracer-reach",
];

/// Environment variables that change how cargo builds.
const VARIABLES: [&str; 4] =
    ["CARGO_BUILD_TARGET", "CARGO_ENCODED_RUSTFLAGS", "RUSTC_WRAPPER", "RUSTFLAGS"];

/// The source files, the compilers and the settings of a build.
pub(crate) fn of_sources(workspace: &Workspace, ready: &Ready) -> Result<String> {
    let mut text = format!("cargo {}\n{ready}\n", cargo::program().display());
    for variable in VARIABLES {
        let value = env::var_os(variable).unwrap_or_default();
        line(&mut text, format_args!("{variable}={}", value.display()));
    }
    for source in SOURCES {
        add_files(&mut text, &workspace.root().join(source))?;
    }
    Ok(text)
}

/// The files that a build produced: another cargo command may have replaced them since.
pub(crate) fn of_products(workspace: &Workspace, profile: Profile) -> Result<String> {
    let mut text = String::new();
    for product in [workspace.ebpf_object(), workspace.tool(profile)] {
        add_file(&mut text, &product)?;
    }
    Ok(text)
}

fn add_files(text: &mut String, path: &Path) -> Result<()> {
    if !path.is_dir() {
        return add_file(text, path);
    }
    let entries = fs::read_dir(path).with_context(|| format!("cannot list {}", path.display()))?;
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()
        .with_context(|| format!("cannot list {}", path.display()))?;
    paths.sort();
    paths.iter().try_for_each(|path| add_files(text, path))
}

fn add_file(text: &mut String, path: &Path) -> Result<()> {
    let identity = file_identity(path).with_context(|| format!("{} is missing", path.display()))?;
    line(text, format_args!("{} {identity}", path.display()));
    Ok(())
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a string never fails.
    let _ = writeln!(text, "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(dir: &Path) -> String {
        let mut text = String::new();
        add_files(&mut text, dir).unwrap();
        text
    }

    #[test]
    fn a_new_a_changed_and_a_removed_file_are_noticed() {
        let temporary = tempfile::tempdir().unwrap();
        let dir = temporary.path();
        fs::create_dir_all(dir.join("src")).unwrap();
        fs::write(dir.join("src/a.rs"), "a").unwrap();
        let first = files(dir);
        assert_eq!(files(dir), first);

        fs::write(dir.join("src/b.rs"), "b").unwrap();
        let second = files(dir);
        assert_ne!(second, first);

        fs::write(dir.join("src/b.rs"), "bb").unwrap();
        assert_ne!(files(dir), second);

        fs::remove_file(dir.join("src/b.rs")).unwrap();
        assert_eq!(files(dir), first);
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = add_file(&mut String::new(), Path::new("/no/such/file")).unwrap_err();
        assert_eq!(error.to_string(), "/no/such/file is missing");
    }
}
