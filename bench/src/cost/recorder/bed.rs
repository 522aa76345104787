//! A running recorder of one cgroup, and programs in that cgroup.

use std::{
    path::Path,
    process::Command,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::Result;
use tempfile::TempDir;
use tracer_tests::{
    cgroup::ScratchCgroup,
    recorder::{Recorder, history},
    recorder_storm::{bytes_of, cpu_seconds, settle},
};

use crate::{
    cost::load::{Load, Plan},
    harness::fixture::Fixture,
};

/// A cgroup without a recorder.
pub(super) struct Place(ScratchCgroup);

impl Place {
    pub(super) fn new() -> Result<Self> {
        ScratchCgroup::create("tracer-bench").map(Self)
    }

    /// The cgroup's folder.
    pub(super) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Has it recorded.
    pub(super) fn record(&self) -> Result<Recording> {
        let folder = TempDir::new()?;
        let recorder = Recorder::start(folder.path(), &["--cgroup", self.0.name()?])?;
        Ok(Recording { recorder, folder })
    }

    /// Starts a loop in the cgroup, which waits at its gate.
    pub(super) fn load(&self, fixture: &Fixture, plan: &Plan<'_>) -> Result<Load> {
        self.load_with_log(fixture, plan, Path::new("/dev/null"))
    }

    /// The same; its processes have this file as their stderr.
    pub(super) fn load_with_log(
        &self,
        fixture: &Fixture,
        plan: &Plan<'_>,
        log: &Path,
    ) -> Result<Load> {
        let mut shell = Command::new("sh");
        shell.args(["-c", "log=$1; shift; echo $$ > \"$0\" && exec \"$@\" 2>> \"$log\""]);
        shell.arg(self.path().join("cgroup.procs")).arg(log).arg(&fixture.load);
        Load::start_by(shell, plan)
    }
}

/// A running recorder.
pub(super) struct Recording {
    recorder: Recorder,
    folder: TempDir,
}

impl Recording {
    pub(super) fn pid(&self) -> u32 {
        self.recorder.pid()
    }

    /// Waits until it has nothing left to do.
    pub(super) fn settle(&self) -> Result<()> {
        settle(self.pid())
    }

    /// Its processor time so far, in seconds.
    pub(super) fn cpu(&self) -> Result<f64> {
        cpu_seconds(self.pid())
    }

    /// The part of a processor that it takes with nothing to do.
    pub(super) fn idle(&self, seconds: u64) -> Result<f64> {
        let (start, before) = (Instant::now(), self.cpu()?);
        sleep(Duration::from_secs(seconds));
        Ok((self.cpu()? - before) / start.elapsed().as_secs_f64())
    }

    /// Ends it. Bytes of its history, and events that it says it did not see.
    pub(super) fn stop(self) -> Result<(u64, u64)> {
        self.recorder.stop()?;
        let items = history(self.folder.path(), &[])?;
        let gaps = items.iter().filter(|item| item["type"] == "gap");
        let missed = gaps.filter_map(|gap| gap["events"].as_u64()).sum();
        Ok((bytes_of(self.folder.path())?, missed))
    }
}
