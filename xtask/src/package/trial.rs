//! Installs each package in a folder that is otherwise empty, tries tracer there, and removes it again.
//!
//! In that folder there is no C library: the binary must be static.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;
use xtask::{
    command::{self, say},
    setup::packages,
    workspace::Workspace,
};

use super::{ensure_same, list};

/// A recorded session, from the top of the checkout, and a part of its report.
pub(super) const RECORDING: (&str, &str) = ("tests/sessions/trees/cargo.session", "cargo");

/// Installs and removes a package with dpkg.
pub(super) fn dpkg(workspace: &Workspace, deb: &Path, staged: &[PathBuf]) -> Result<()> {
    let root = tempfile::tempdir().context("cannot make a folder for dpkg")?;
    let database = root.path().join("var/lib/dpkg");
    for folder in ["info", "updates", "triggers"] {
        fs::create_dir_all(database.join(folder))?;
    }
    for file in ["status", "available"] {
        fs::write(database.join(file), "")?;
    }
    let dpkg = || {
        let mut dpkg = program("dpkg");
        dpkg.arg("--root").arg(root.path()).arg("--log=/dev/null");
        dpkg
    };
    let before = list(root.path(), &["var/lib/dpkg"])?;
    command::capture(dpkg().arg("--install").arg(deb))?;
    try_in(workspace, &root, staged)?;
    command::capture(dpkg().args(["--remove", "tracer"]))?;
    command::capture(dpkg().args(["--purge", "tracer"]))?;
    ensure_same(&before, &list(root.path(), &["var/lib/dpkg"])?, "dpkg")?;
    say("dpkg: installed, tried and removed without a trace");
    Ok(())
}

/// Installs and removes a package with rpm.
pub(super) fn rpm(workspace: &Workspace, rpm: &Path, staged: &[PathBuf]) -> Result<()> {
    let root = tempfile::tempdir().context("cannot make a folder for rpm")?;
    let database = root.path().join("var/lib/rpm");
    fs::create_dir_all(&database)?;
    let rpm_in = || {
        let mut command = program("rpm");
        command.arg("--root").arg(root.path()).args(["--dbpath", "/var/lib/rpm"]);
        command
    };
    command::capture(rpm_in().arg("--initdb"))?;
    let shell = packages::static_busybox().context("busybox-static is missing")?;
    fs::create_dir_all(root.path().join("bin"))?;
    fs::copy(shell, root.path().join("bin/sh")).context("cannot copy busybox")?;
    // rpm removes only folders that a package lists. These belong to the system.
    let of_system = staged.iter().filter_map(|file| file.parent());
    for folder in
        of_system.chain(["usr/share/doc", "usr/share/zsh/site-functions", "var/tmp"].map(Path::new))
    {
        if !folder.ends_with("tracer") {
            fs::create_dir_all(root.path().join(folder))?;
        }
    }
    let before = list(root.path(), &["var/lib/rpm"])?;
    // The shell is there, but no package of this rpm has it.
    command::capture(rpm_in().args(["--install", "--nodeps"]).arg(rpm))?;
    try_in(workspace, &root, staged)?;
    let listed =
        command::capture(program("rpm").args(["--query", "--list", "--package"]).arg(rpm))?;
    ensure!(listed.lines().any(|line| line == "/usr/bin/tracer"), "rpm lists only {listed}");
    command::capture(rpm_in().args(["--erase", "tracer"]))?;
    ensure_same(&before, &list(root.path(), &["var/lib/rpm"])?, "rpm")?;
    say("rpm: installed, tried and removed without a trace");
    Ok(())
}

/// Checks that every file is there, and starts tracer in this folder as its root.
fn try_in(workspace: &Workspace, root: &TempDir, staged: &[PathBuf]) -> Result<()> {
    for file in staged {
        ensure!(root.path().join(file).exists(), "{} was not installed", file.display());
    }
    let tracer = |arguments: &[&str]| {
        let mut chroot = program("chroot");
        chroot.arg(root.path()).arg("/usr/bin/tracer").args(arguments).env_clear();
        command::capture(&mut chroot)
    };
    let version = tracer(&["--version", "--verbose"])?;
    ensure!(version.contains(", static\n"), "tracer is not static: {version}");
    let (recording, expected) = RECORDING;
    let copy = root.path().join("a.session");
    fs::copy(workspace.root().join(recording), &copy)
        .with_context(|| format!("cannot copy {recording}"))?;
    let report = tracer(&["report", "/a.session"])?;
    fs::remove_file(copy)?;
    ensure!(report.contains(expected), "the report of {recording} is {report}");
    // An empty folder is a history without rows.
    let history = root.path().join("history");
    fs::create_dir(&history)?;
    tracer(&["export", "--history", "/history", "-o", "/rows"])?;
    let rows = fs::read(root.path().join("rows")).context("there is no export")?;
    fs::remove_dir(&history)?;
    fs::remove_file(root.path().join("rows"))?;
    ensure!(rows.starts_with(b"PAR1") && rows.ends_with(b"PAR1"), "the export is no Parquet file");
    Ok(())
}

/// A system program, which an unprivileged user's `PATH` may not have.
pub(super) fn program(name: &str) -> Command {
    Command::new(command::find(name).unwrap_or_else(|| name.into()))
}
