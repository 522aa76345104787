//! One storm under tracer, which starts it: so it is traced from its first instruction, and what is said of it
//! is certain unless something was lost.

use std::{
    io::Write as _,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use tempfile::TempDir;

use super::{
    accounts::{Counted, Said, Truth},
    judge::judge,
    plan::Plan,
    row::{Row, megabytes},
};
use crate::harness::{place::Place, report, tool::Tool};

/// tracer with a storm that stands at its gate.
pub(super) struct Trial {
    tool: Tool,
    files: TempDir,
    start: Instant,
}

/// A storm that is over.
pub(super) struct Ended {
    pub(super) counted: Counted,
    /// The most memory that tracer had, its report included.
    pub(super) peak: u64,
    /// From the start of tracer to its end.
    pub(super) time: Duration,
}

impl Trial {
    /// Starts both.
    pub(super) fn start(place: &Place, work: (&str, u64), arguments: &[&str]) -> Result<Self> {
        let files = place.new_directory()?;
        let mut tracer = Command::new(&place.tracer);
        tracer.args(["--format", "json", "-o"]).arg(files.path().join("report")).args(arguments);
        tracer.arg("--").arg(&place.load).args([work.0, &work.1.to_string()]);
        let start = Instant::now();
        let mut tool = Tool::start("tracer", &mut tracer)?;
        tool.wait_for("\"ready\"")?;
        Ok(Self { tool, files, start })
    }

    /// tracer's pid.
    pub(super) fn tracer(&self) -> u32 {
        self.tool.pid()
    }

    /// Lets the storm rage once; says what it wrote.
    pub(super) fn rage(&mut self) -> Result<Truth> {
        // Where it has ended, the next wait says why.
        let _ = self.tool.input()?.write_all(b"g");
        let line = self.tool.wait_for("\"truth\"")?;
        let said: Said =
            serde_json::from_str(&line).with_context(|| format!("not what load says: {line}"))?;
        Ok(said.truth)
    }

    /// Waits for the report.
    pub(super) fn finish(self) -> Result<Ended> {
        let (status, said, peak) = self.tool.finish_measured()?;
        if !matches!(status.code(), Some(0 | 1)) {
            bail!("tracer ended with {status}: {}", said.join(" / "));
        }
        let counted = Counted::of(report::read(&self.files.path().join("report"))?);
        Ok(Ended { counted, peak, time: self.start.elapsed() })
    }
}

/// Runs one storm.
pub(super) fn run(place: &Place, plan: &Plan) -> Result<Row> {
    let mut trial = Trial::start(place, plan.work, plan.arguments)?;
    let truth = trial.rage()?;
    let Ended { counted, peak, time } = trial.finish()?;
    let outcome = judge(plan.expect, &truth, &counted);
    let memory = megabytes(peak);
    let name = plan.name.to_owned();
    Ok(Row { name, what: plan.what(), truth, counted, outcome, memory, time })
}
