//! Runs a storm under tracer. tracer starts it, so it is traced from its first instruction, and findings are certain
//! unless something was lost.

use std::{
    io::Write as _,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use tempfile::TempDir;

use super::{
    accounts::{Counted, LoadOutput, Truth},
    judge::judge,
    plan::Plan,
    row::{Row, megabytes},
};
use crate::harness::{fixture::Fixture, report, tool::Tool};

/// A running tracer and its storm, which waits at its gate.
pub(super) struct Trial {
    tool: Tool,
    files: TempDir,
    start: Instant,
}

/// The results of a storm.
pub(super) struct Finished {
    pub(super) counted: Counted,
    /// tracer's peak resident memory in bytes, including the report.
    pub(super) peak: u64,
    /// From tracer's start to its end.
    pub(super) time: Duration,
}

impl Trial {
    /// Starts both. `work` is a loop of `load` and its size.
    pub(super) fn start(fixture: &Fixture, work: (&str, u64), arguments: &[&str]) -> Result<Self> {
        let files = fixture.new_directory()?;
        let mut tracer = Command::new(&fixture.tracer);
        tracer.args(["--format", "json", "-o"]).arg(files.path().join("report")).args(arguments);
        tracer.arg("--").arg(&fixture.load).args([work.0, &work.1.to_string()]);
        let start = Instant::now();
        let mut tool = Tool::start("tracer", &mut tracer)?;
        tool.wait_for("\"ready\"")?;
        Ok(Self { tool, files, start })
    }

    /// tracer's pid.
    pub(super) fn tracer(&self) -> u32 {
        self.tool.pid()
    }

    /// Runs the storm once and returns what it wrote.
    pub(super) fn run_storm(&mut self) -> Result<Truth> {
        // If this fails, the storm has ended, and the error of `wait_for` tells why.
        let _ = self.tool.input()?.write_all(b"g");
        let line = self.tool.wait_for("\"truth\"")?;
        let output: LoadOutput =
            serde_json::from_str(&line).with_context(|| format!("not what load says: {line}"))?;
        Ok(output.truth)
    }

    /// Waits for the end and reads the report.
    pub(super) fn finish(self) -> Result<Finished> {
        let (status, output, peak) = self.tool.finish_measured()?;
        if !matches!(status.code(), Some(0 | 1)) {
            bail!("tracer ended with {status}: {}", output.join(" / "));
        }
        let counted = Counted::of(report::read(&self.files.path().join("report"))?);
        Ok(Finished { counted, peak, time: self.start.elapsed() })
    }
}

/// Runs a storm and judges tracer's report.
pub(super) fn run(fixture: &Fixture, plan: &Plan) -> Result<Row> {
    let mut trial = Trial::start(fixture, plan.work, plan.arguments)?;
    let truth = trial.run_storm()?;
    let Finished { counted, peak, time } = trial.finish()?;
    let outcome = judge(plan.expect, &truth, &counted);
    let memory = megabytes(peak);
    let name = plan.name.to_owned();
    Ok(Row { name, description: plan.description(), truth, counted, outcome, memory, time })
}
