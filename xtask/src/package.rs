//! `cargo xtask package`: the binary for download with its manual pages and completions, and packages of them for dpkg
//! and rpm.

mod stage;
mod trial;
mod userlands;

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use xtask::{
    build::dist,
    cargo,
    command::{self, say},
    setup::{
        self, Extras,
        cargo_tool::{CARGO_DEB, CARGO_GENERATE_RPM},
        packages,
    },
    workspace::Workspace,
};

/// What is tried beside the build.
#[derive(Args)]
pub(crate) struct Options {
    /// Also install and try the package in Debian 11, 12 and 13, which debootstrap puts into the cache (root)
    #[arg(long)]
    userlands: bool,
    /// How long the compiler may take.
    #[arg(skip = dist::Effort::Full)]
    effort: dist::Effort,
}

impl Options {
    /// What the continuous integration tries.
    pub(crate) fn short() -> Self {
        Self { userlands: false, effort: dist::Effort::Short }
    }
}

/// The packages.
struct Packages {
    deb: PathBuf,
    rpm: PathBuf,
}

/// Builds the binary and the packages, and tries them.
///
/// # Errors
///
/// A build fails, the binary is too large, or a package does not install, work and go away again without a trace.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    let ready = setup::ensure(workspace, Extras::default())?;
    setup::ensure_for_packages(options.userlands)?;
    let tool = dist::build(workspace, &ready, options.effort)?;
    let staged = stage::stage(workspace, &tool)?;
    let folder = workspace.target().join("package");
    let packages = make(workspace, &folder)?;
    for program in dist::PROGRAMS {
        copy(&tool.with_file_name(program), &folder)?;
        copy(&tool.with_file_name(program).with_extension("debug"), &folder)?;
    }
    let programs = dist::PROGRAMS.map(|program| folder.join(program));
    for file in programs.into_iter().chain([packages.deb.clone(), packages.rpm.clone()]) {
        say(&format!("{}: {} kB", file.display(), fs::metadata(&file)?.len() / 1000));
    }
    if !packages::is_root() {
        say("the packages were NOT tried: that needs root");
        return Ok(());
    }
    trial::dpkg(workspace, &packages.deb, &staged)?;
    trial::rpm(workspace, &packages.rpm, &staged)?;
    if options.userlands {
        userlands::try_all(workspace, &packages.deb)?;
    }
    Ok(())
}

/// Makes the packages in a folder that has nothing else. The lists of their files are in tracer/Cargo.toml.
fn make(workspace: &Workspace, folder: &Path) -> Result<Packages> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("cannot empty {}", folder.display()))?;
    }
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let target = dist::target();
    let common = ["--package", "tracer", "--profile", dist::PROFILE, "--target", &target];
    let mut deb = cargo::with_program(workspace, CARGO_DEB.ensure(workspace)?);
    deb.args(common).args(["--no-build", "--no-strip", "--quiet", "--output"]).arg(folder);
    command::run(&mut deb)?;
    let mut rpm = cargo::with_program(workspace, CARGO_GENERATE_RPM.ensure(workspace)?);
    rpm.args(common).arg("--target-dir").arg(workspace.target()).arg("--output").arg(folder);
    command::run(&mut rpm)?;
    Ok(Packages { deb: only_file(folder, "deb")?, rpm: only_file(folder, "rpm")? })
}

fn only_file(folder: &Path, extension: &str) -> Result<PathBuf> {
    let mut found: Vec<_> = fs::read_dir(folder)?
        .map(|entry| entry.map(|entry| entry.path()))
        .filter(|path| {
            !path.as_ref().is_ok_and(|path| path.extension() != Some(extension.as_ref()))
        })
        .collect::<Result<_, _>>()?;
    let file = found.pop().filter(|_| found.is_empty());
    file.with_context(|| format!("{} has not exactly one .{extension}", folder.display()))
}

fn copy(file: &Path, folder: &Path) -> Result<()> {
    let name = file.file_name().with_context(|| format!("{} is no file", file.display()))?;
    let copied = fs::copy(file, folder.join(name));
    copied.with_context(|| format!("cannot copy {} to {}", file.display(), folder.display()))?;
    Ok(())
}

/// The relative paths of all files, links and folders below a folder, except those below `except`.
fn list(folder: &Path, except: &[&str]) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(below) = folders.pop() {
        let entries = fs::read_dir(folder.join(&below));
        for entry in entries.with_context(|| format!("cannot list {}", below.display()))? {
            let entry = entry?;
            let path = below.join(entry.file_name());
            if except.iter().any(|it| path == Path::new(it)) {
                continue;
            }
            if entry.file_type()?.is_dir() {
                folders.push(path.clone());
            }
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// Fails if the lists differ, and names what is new and what is missing.
fn ensure_same(before: &[PathBuf], after: &[PathBuf], what: &str) -> Result<()> {
    let without = |these: &[PathBuf], those: &[PathBuf]| -> Vec<String> {
        let rest = these.iter().filter(|path| !those.contains(path));
        rest.map(|path| path.display().to_string()).collect()
    };
    let (left, gone) = (without(after, before), without(before, after));
    ensure!(left.is_empty(), "{what} left {}", left.join(", "));
    ensure!(gone.is_empty(), "{what} removed {}", gone.join(", "));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_package_leaves_or_takes_away_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let make = |path: &str| fs::create_dir_all(dir.path().join(path)).unwrap();
        make("usr/bin");
        make("var/lib/dpkg/info");
        let before = list(dir.path(), &["var/lib/dpkg"]).unwrap();
        make("var/lib/dpkg/updates");
        let after = list(dir.path(), &["var/lib/dpkg"]).unwrap();
        ensure_same(&before, &after, "dpkg").unwrap();
        fs::write(dir.path().join("usr/bin/tracer"), "").unwrap();
        let after = list(dir.path(), &["var/lib/dpkg"]).unwrap();
        let fault = |before, after| ensure_same(before, after, "dpkg").unwrap_err().to_string();
        assert_eq!(fault(&before, &after), "dpkg left usr/bin/tracer");
        assert_eq!(fault(&after, &before), "dpkg removed usr/bin/tracer");
    }

    #[test]
    fn one_package_of_each_kind_is_expected() {
        let dir = tempfile::tempdir().unwrap();
        assert!(only_file(dir.path(), "deb").is_err());
        fs::write(dir.path().join("a.deb"), "").unwrap();
        fs::write(dir.path().join("a.rpm"), "").unwrap();
        assert_eq!(only_file(dir.path(), "deb").unwrap(), dir.path().join("a.deb"));
        fs::write(dir.path().join("b.deb"), "").unwrap();
        assert!(only_file(dir.path(), "deb").is_err());
    }
}
