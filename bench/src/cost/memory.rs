//! What tracer itself needs for a tree: memory, time to attach, time to report.

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
    place::Place,
    procfs::{map_memory, status},
    report,
    tool::Tool,
};

/// Sizes in bytes.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Memory {
    #[serde(flatten)]
    pub(crate) live: Live,
    /// Seconds of `tracer report` on the recorded session.
    pub(crate) report_s: f64,
}

/// What is measured while it traces.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Live {
    /// Resident memory of the process once it has taken in the tree.
    pub(crate) rss: u64,
    /// The most that it was, its report included.
    pub(crate) peak: u64,
    /// Memory of the maps.
    pub(crate) maps: u64,
    /// From the start to "attached", in milliseconds.
    pub(crate) attached_ms: f64,
    /// What tracer says that it could not record.
    pub(crate) losses: u64,
}

/// Resident memory that did not change for so long is what the tree needs.
const STILL: Duration = Duration::from_millis(400);
const SETTLED_WITHIN: Duration = Duration::from_secs(30);
/// The recording's name.
const SESSION: &str = "session";

/// A trace that was measured, and its recording, which is gone with this.
pub(crate) struct Recorded {
    files: TempDir,
    live: Live,
}

/// Traces the tree of this process once, with a recording.
pub(crate) fn of(place: &Place, root: u32) -> Result<Recorded> {
    let files = place.new_directory()?;
    let (session, report) = (files.path().join(SESSION), files.path().join("live"));
    let mut tracer = Command::new(&place.tracer);
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
    /// Reports the recording. To be asked when the tree has ended: fifty thousand sleeping processes make
    /// anything slower on a small machine, and whoever reports a recording does not have them.
    pub(crate) fn reported(self, tracer: &Path) -> Result<Memory> {
        let files = self.files.path();
        let report_s = report_time(tracer, &files.join(SESSION), &files.join("again"))?;
        Ok(Memory { live: self.live, report_s })
    }
}

/// Resident memory once it stands still.
fn settled_rss(pid: u32) -> Result<u64> {
    let deadline = Instant::now() + SETTLED_WITHIN;
    let (mut last, mut since) = (0, Instant::now());
    loop {
        let rss = status(pid, "VmRSS:").context("tracer has ended early")?;
        if rss != last {
            (last, since) = (rss, Instant::now());
        }
        if since.elapsed() >= STILL {
            return Ok(rss);
        }
        let seconds = SETTLED_WITHIN.as_secs();
        ensure!(Instant::now() < deadline, "tracer's memory still changes after {seconds} s");
        thread::sleep(Duration::from_millis(10));
    }
}

/// How often a session is reported; the first one reads the file from disk.
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
