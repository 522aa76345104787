//! Programs and files of a run, and settings of the machine that are restored afterwards.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};
use tempfile::TempDir;
use xtask::{
    build::{self, OBJECT_VARIABLE, Verbosity},
    cargo,
    command::{self, say},
    setup::Ready,
    workspace::{Profile, Workspace},
};

const TRACEFS: &str = "/sys/kernel/tracing";
/// The name of the empty program's eBPF object in a virtual machine.
pub(crate) const FLOOR_OBJECT: &str = "floor.o";
const PID_MAX: &str = "/proc/sys/kernel/pid_max";

/// Programs and files of a run.
pub(crate) struct Fixture {
    /// The path of tracer.
    pub(crate) tracer: PathBuf,
    /// The path of `load`, the measured loops.
    pub(crate) load: PathBuf,
    /// The path of `jobs`, the manager of short jobs.
    pub(crate) jobs: PathBuf,
    /// The path of the empty program's loader.
    pub(crate) floor: PathBuf,
    /// The path of the empty program's eBPF object.
    pub(crate) floor_object: PathBuf,
    /// The path of bpftrace's script.
    pub(crate) question: PathBuf,
    scratch: TempDir,
    _tracefs: Option<Mounted>,
}

impl Fixture {
    /// Builds the programs.
    pub(crate) fn prepare(workspace: &Workspace, ready: &Ready) -> Result<Self> {
        let tracer = build::build(workspace, ready, Profile::Release, Verbosity::Brief)?;
        say("building the measured loops");
        let mut build = cargo::cargo(workspace);
        build
            .args(["build", "--quiet", "--release", "--package", "tracer-tests"])
            .args(["--bin", "load", "--bin", "jobs", "--bin", "floor"])
            .env(OBJECT_VARIABLE, workspace.ebpf_object());
        command::run(&mut build)?;
        let release = workspace.target().join(Profile::Release.directory());
        let scratch = tempfile::tempdir().context("cannot make a scratch directory")?;
        let question = scratch.path().join("question.bt");
        fs::write(&question, include_str!("../cost/comparison/question.bt"))
            .context("cannot write question.bt")?;
        Ok(Self {
            tracer,
            load: release.join("load"),
            jobs: release.join("jobs"),
            floor: release.join("floor"),
            floor_object: workspace.floor_object(),
            question,
            scratch,
            _tracefs: Mounted::tracefs(),
        })
    }

    /// The programs of a virtual machine, in a folder that the initramfs has.
    pub(crate) fn in_guest(folder: &Path) -> Result<Self> {
        let scratch = tempfile::tempdir().context("cannot make a scratch directory")?;
        Ok(Self {
            tracer: folder.join("tracer"),
            load: folder.join("load"),
            jobs: folder.join("jobs"),
            floor: folder.join("floor"),
            floor_object: folder.join(FLOOR_OBJECT),
            question: folder.join("question.bt"),
            scratch,
            _tracefs: None,
        })
    }

    /// A new directory, removed when dropped.
    pub(crate) fn new_directory(&self) -> Result<TempDir> {
        TempDir::new_in(&self.scratch).context("cannot make a directory for a measurement")
    }
}

/// A mounted file system, unmounted when dropped.
struct Mounted(&'static str);

impl Mounted {
    /// Mounts tracefs, which bpftrace and perf need and which is often not mounted in containers. If that fails, they
    /// fail with a message and are reported as absent.
    fn tracefs() -> Option<Self> {
        if Path::new(TRACEFS).join("events").exists() {
            return None;
        }
        let mut mount = Command::new("mount");
        command::succeeds(mount.args(["-t", "tracefs", "tracefs", TRACEFS]))
            .then_some(Self(TRACEFS))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if !command::succeeds(Command::new("umount").arg(self.0)) {
            say(&format!("cannot unmount {}", self.0));
        }
    }
}

/// The kernel's largest pid, restored when dropped.
pub(crate) struct PidMax(Option<String>);

impl PidMax {
    /// Raises the largest pid, if needed, so that `processes` more can start.
    pub(crate) fn at_least(processes: u32) -> Result<Self> {
        let before =
            fs::read_to_string(PID_MAX).with_context(|| format!("cannot read {PID_MAX}"))?;
        let before = before.trim().to_owned();
        let wanted = u64::from(processes) + 16_384;
        if before.parse::<u64>().is_ok_and(|pids| pids >= wanted) {
            return Ok(Self(None));
        }
        fs::write(PID_MAX, wanted.to_string())
            .with_context(|| format!("{PID_MAX} is {before} and cannot be raised to {wanted}"))?;
        say(&format!("{PID_MAX}: {before} → {wanted} until the big tree is gone"));
        Ok(Self(Some(before)))
    }
}

impl Drop for PidMax {
    fn drop(&mut self) {
        if let Some(before) = &self.0
            && let Err(error) = fs::write(PID_MAX, before)
        {
            say(&format!("cannot set {PID_MAX} back to {before}: {error}"));
        }
    }
}
