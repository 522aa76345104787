//! Runs the storms of the program `load`, which reports what each of its processes wrote.

use std::{
    collections::BTreeMap,
    io::Write as _,
    process::{ChildStdin, Command, Stdio},
    sync::mpsc::Receiver,
};

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

use crate::{
    deadline::{DEADLINE, OwnedChild},
    report::Report,
    tracer::{Outcome, Tracer, lines},
    workload::sibling_binary,
};

/// What a storm did, without its root process.
#[derive(Clone, Debug, Deserialize)]
pub struct Truth {
    /// Started processes.
    pub processes: u64,
    /// Writes through fd 1.
    pub writes: u64,
    /// Bytes of these writes.
    pub bytes: u64,
    /// Pipes that were used as fd 1.
    #[serde(default)]
    pub pipes: u64,
    /// Number of processes, by the bytes that each wrote.
    #[serde(default)]
    pub each: BTreeMap<u64, u64>,
}

#[derive(Deserialize)]
struct Measured {
    truth: Truth,
}

/// A running storm, killed when dropped.
#[derive(Debug)]
pub struct Storm {
    child: OwnedChild,
    gate: ChildStdin,
    lines: Receiver<String>,
}

impl Storm {
    /// Starts a loop of `load` with this size, which waits at its gate.
    pub fn start(name: &str, size: u64) -> Result<Self> {
        let mut command = Command::new(sibling_binary("load")?);
        command.arg(name).arg(size.to_string()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = OwnedChild::spawn(&mut command, name)?;
        let (gate, stdout) = (child.take_stdin()?, child.take_stdout()?);
        let storm = Self { child, gate, lines: lines(stdout) };
        let ready = storm.line()?;
        ensure!(ready.contains("ready"), "load printed: {ready}");
        Ok(storm)
    }

    /// Pid of its root process.
    pub fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// Starts the storm without waiting for its end.
    pub fn open_gate(&mut self) -> Result<()> {
        self.gate.write_all(b"g").context("cannot open the gate")
    }

    /// Waits until the storm is over. Its root process stays alive, and so does the trace.
    pub fn wait(&self) -> Result<Truth> {
        let line = self.line()?;
        let measured: Measured =
            serde_json::from_str(&line).with_context(|| format!("load: {line}"))?;
        Ok(measured.truth)
    }

    /// Ends the root process.
    pub fn end(self) -> Result<()> {
        let Self { mut child, gate, .. } = self;
        drop(gate);
        let status = child.wait()?;
        ensure!(status.success(), "the storm ended with {status}");
        Ok(())
    }

    fn line(&self) -> Result<String> {
        let line = self.lines.recv_timeout(*DEADLINE);
        line.with_context(|| format!("load printed nothing within {} s", DEADLINE.as_secs()))
    }
}

/// A traced storm.
#[derive(Debug)]
pub struct TracedStorm {
    /// The storm's own counts.
    pub truth: Truth,
    /// Tracer's exit status and output.
    pub tracer: Outcome,
    /// Tracer's report.
    pub report: Report,
}

/// Traces a storm of this size with these arguments for tracer.
pub fn trace(name: &str, size: u64, arguments: &[&str]) -> Result<TracedStorm> {
    let mut storm = Storm::start(name, size)?;
    let tracer = Tracer::on_pid(storm.pid()).args(arguments).start()?;
    storm.open_gate()?;
    let truth = storm.wait()?;
    storm.end()?;
    TracedStorm::new(truth, tracer.finish()?)
}

impl TracedStorm {
    /// Joins a storm's own counts with the result of its tracer.
    pub fn new(truth: Truth, tracer: Outcome) -> Result<Self> {
        Ok(Self { truth, report: tracer.report()?, tracer })
    }

    /// Number of reported processes, without the root.
    pub fn processes(&self) -> u64 {
        self.report.processes.len() as u64 - 1
    }

    /// Reported writes and bytes on fd 1.
    pub fn written(&self) -> (u64, u64) {
        let mut sums = (0, 0);
        for (_, row) in self.report.rows().filter(|(_, row)| row.fd == Some(1)) {
            sums = (sums.0 + row.writes, sums.1 + row.bytes);
        }
        sums
    }

    /// Number of reported processes, by the bytes that each wrote to fd 1.
    pub fn each(&self) -> BTreeMap<u64, u64> {
        let mut each = BTreeMap::new();
        for process in &self.report.processes {
            let rows = process.fds.iter().filter(|row| row.fd == Some(1));
            let bytes: u64 = rows.map(|row| row.bytes).sum();
            if bytes > 0 {
                *each.entry(bytes).or_default() += 1;
            }
        }
        each
    }

    /// Checks that every process is reported with its bytes, every pipe balances, and nothing was lost.
    pub fn exact(&self) -> Result<()> {
        let Self { truth, report, .. } = self;
        crate::expect::no_losses(report)?;
        ensure!(self.processes() == truth.processes, "{} of {truth:?}", self.processes());
        ensure!(self.written() == (truth.writes, truth.bytes), "{:?}: {truth:?}", self.written());
        ensure!(self.each() == truth.each, "the sums agree, but the processes differ");
        let unbalanced = report.objects.iter().find(|object| object.balanced == Some(false));
        ensure!(unbalanced.is_none(), "{unbalanced:?}");
        Ok(())
    }
}

/// Number of losses for this reason.
pub fn losses_for(report: &Report, reason: &str) -> u64 {
    report.losses.get(reason).and_then(serde_json::Value::as_u64).unwrap_or(0)
}

/// Checks that losses are the first finding, that they have only these reasons, and that all findings
/// based on counts are unsure.
pub fn losses_make_findings_unsure(report: &Report, reasons: &[&str]) -> Result<()> {
    report.headline("own_losses")?;
    let losses = report.losses();
    let other = losses.iter().find(|(reason, _)| !reasons.contains(&reason.as_str()));
    ensure!(other.is_none(), "losses for other reasons: {losses:?}");
    let is_about_losses = |rule: &str| ["own_losses", "unbalanced"].contains(&rule);
    let mut findings = report.findings.iter();
    let sure = findings.find(|it| !is_about_losses(&it.rule) && it.confidence != "unsure");
    ensure!(sure.is_none(), "reported as certain: {sure:#?}");
    Ok(())
}
