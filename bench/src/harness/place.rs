//! Where everything is that a benchmark starts, and what it needs of the machine while it runs.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};
use tempfile::TempDir;
use xtask::{
    build::{self, OBJECT_VARIABLE, Profile, Verbosity},
    cargo,
    command::{self, say},
    setup::Ready,
    workspace::Workspace,
};

const TRACEFS: &str = "/sys/kernel/tracing";
const PID_MAX: &str = "/proc/sys/kernel/pid_max";

/// Programs and files of one run.
pub(crate) struct Place {
    /// The tool.
    pub(crate) tracer: PathBuf,
    /// The measured loops.
    pub(crate) load: PathBuf,
    /// The floor's loader.
    pub(crate) floor: PathBuf,
    /// The floor's program.
    pub(crate) floor_object: PathBuf,
    /// What bpftrace is asked.
    pub(crate) question: PathBuf,
    scratch: TempDir,
    _tracefs: Option<Mounted>,
}

impl Place {
    /// Builds all that is measured.
    pub(crate) fn prepare(workspace: &Workspace, ready: &Ready) -> Result<Self> {
        let tracer = build::build(workspace, ready, Profile::Release, Verbosity::Brief)?;
        say("building the measured loops");
        let mut build = cargo::cargo(workspace);
        build
            .args(["build", "--quiet", "--release", "--package", "tracer-tests"])
            .args(["--bin", "load", "--bin", "floor"])
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
            floor: release.join("floor"),
            floor_object: workspace.floor_object(),
            question,
            scratch,
            _tracefs: Mounted::tracefs(),
        })
    }

    /// A new directory, which is gone when this is dropped.
    pub(crate) fn new_directory(&self) -> Result<TempDir> {
        TempDir::new_in(&self.scratch).context("cannot make a directory for a measurement")
    }
}

/// A file system that was mounted for the run.
struct Mounted(&'static str);

impl Mounted {
    /// bpftrace and perf look for tracepoints in tracefs, which containers often leave unmounted.
    /// Where it cannot be mounted they will say so themselves, and be reported as absent.
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

/// The largest pid, raised for a big tree and put back afterwards.
pub(crate) struct PidMax(Option<String>);

impl PidMax {
    /// Makes room for so many processes besides those that there are.
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
