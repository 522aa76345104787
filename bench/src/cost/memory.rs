//! Measures what tracer needs for a tree: memory, time to attach, time to report.

use std::{
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;
use tempfile::TempDir;

use crate::harness::{
    fixture::Fixture,
    procfs::{map_memory, status},
    report,
    tool::Tool,
};

/// Memory in bytes, and times.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Memory {
    #[serde(flatten)]
    pub(crate) live: Live,
    /// Seconds of `tracer report` on the recorded session.
    pub(crate) report_s: f64,
}

/// Results while tracer traces.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Live {
    /// Resident memory when all processes of the tree are recorded.
    pub(crate) rss: u64,
    /// Peak resident memory, including the report.
    pub(crate) peak: u64,
    /// Memory of the maps.
    pub(crate) maps: u64,
    /// Milliseconds from the start to the message "attached".
    pub(crate) attached_ms: f64,
    /// Events that tracer could not record.
    pub(crate) losses: u64,
}

/// Resident memory counts as settled after this time without a change.
const UNCHANGED_FOR: Duration = Duration::from_millis(400);
const SETTLED_WITHIN: Duration = Duration::from_secs(30);
/// The recording's file name.
const SESSION: &str = "session";

/// The results of a trace, and its recording, which is removed when dropped.
pub(crate) struct Recorded {
    files: TempDir,
    live: Live,
}

/// Traces the process tree of `root` once and records the session.
pub(crate) fn of(fixture: &Fixture, root: u32) -> Result<Recorded> {
    let files = fixture.new_directory()?;
    let (session, report) = (files.path().join(SESSION), files.path().join("live"));
    let mut tracer = Command::new(&fixture.tracer);
    tracer.args(["--format", "json", "--pid", &root.to_string(), "--record"]).arg(&session);
    let start = Instant::now();
    let mut tool = Tool::start("tracer", tracer.arg("-o").arg(&report))?;
    tool.wait_for("tracer: attached")?;
    let attached_ms = start.elapsed().as_secs_f64() * 1e3;
    let rss = settled_rss(tool.pid())?;
    let maps = map_memory(tool.pid())?;
    tool.interrupt()?;
    let (_, _, peak) = tool.finish_measured()?;
    let losses = report::read(&report)?.losses().values().sum();
    let live = Live { rss, peak: peak.max(rss), maps, attached_ms, losses };
    Ok(Recorded { files, live })
}

impl Recorded {
    /// Measures `tracer report` on the recording. Call this after the tree has ended: 50,000 sleeping processes slow
    /// down a small machine, and a user who reports a recording does not have them.
    pub(crate) fn reported(self, tracer: &Path) -> Result<Memory> {
        let files = self.files.path();
        let report_s = report_time(tracer, &files.join(SESSION), &files.join("again"))?;
        Ok(Memory { live: self.live, report_s })
    }
}

/// Waits until resident memory is settled.
fn settled_rss(pid: u32) -> Result<u64> {
    let deadline = Instant::now() + SETTLED_WITHIN;
    let (mut last, mut since) = (0, Instant::now());
    loop {
        let rss = status(pid, "VmRSS:").context("tracer has ended early")?;
        if rss != last {
            (last, since) = (rss, Instant::now());
        }
        if since.elapsed() >= UNCHANGED_FOR {
            return Ok(rss);
        }
        let seconds = SETTLED_WITHIN.as_secs();
        ensure!(Instant::now() < deadline, "tracer's memory still changes after {seconds} s");
        thread::sleep(Duration::from_millis(10));
    }
}

/// Repetitions of `tracer report`; the first one reads the file from disk.
const REPORTS: u32 = 5;

/// Seconds of `tracer report`, the fastest of [`REPORTS`].
fn report_time(tracer: &Path, session: &Path, to: &Path) -> Result<f64> {
    let mut best = f64::INFINITY;
    for _ in 0..REPORTS {
        let mut report = Command::new(tracer);
        report.arg("report").arg(session).args(["--format", "json", "-o"]).arg(to);
        let start = Instant::now();
        let status = report.stdin(std::process::Stdio::null()).status();
        let status = status.context("tracer cannot be started")?;
        ensure!(matches!(status.code(), Some(0 | 1)), "tracer report ended with {status}");
        best = best.min(start.elapsed().as_secs_f64());
    }
    Ok(best)
}
