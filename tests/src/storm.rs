//! Storms of the program `load`, which says itself what it wrote, process by process.

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

/// What a storm did, its root left out.
#[derive(Clone, Debug, Deserialize)]
pub struct Truth {
    /// Processes that were started.
    pub processes: u64,
    /// Writes through fd 1.
    pub writes: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Pipes that went on fd 1.
    #[serde(default)]
    pub pipes: u64,
    /// How many processes wrote so many bytes, by bytes.
    #[serde(default)]
    pub each: BTreeMap<u64, u64>,
}

#[derive(Deserialize)]
struct Said {
    truth: Truth,
}

/// A storm that stands at its gate; it dies with its test.
#[derive(Debug)]
pub struct Storm {
    child: OwnedChild,
    gate: ChildStdin,
    said: Receiver<String>,
}

impl Storm {
    /// Starts a loop of `load`, so much of it.
    pub fn start(name: &str, much: u64) -> Result<Self> {
        let mut command = Command::new(sibling_binary("load")?);
        command.arg(name).arg(much.to_string()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = OwnedChild::spawn(&mut command, name)?;
        let gate = child.inner().stdin.take().context("stdin was piped")?;
        let said = child.inner().stdout.take().context("stdout was piped")?;
        let storm = Self { child, gate, said: lines(said) };
        let ready = storm.line()?;
        ensure!(ready.contains("ready"), "load said: {ready}");
        Ok(storm)
    }

    /// Its root.
    pub fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// Lets it rage, without waiting for its end.
    pub fn open_gate(&mut self) -> Result<()> {
        self.gate.write_all(b"g").context("cannot open the gate")
    }

    /// Waits until it is over. Its root lives on, so that the trace does.
    pub fn wait(&self) -> Result<Truth> {
        let line = self.line()?;
        let said: Said = serde_json::from_str(&line).with_context(|| format!("load: {line}"))?;
        Ok(said.truth)
    }

    /// Ends the root.
    pub fn end(self) -> Result<()> {
        let Self { mut child, gate, .. } = self;
        drop(gate);
        let status = child.wait()?;
        ensure!(status.success(), "the storm ended with {status}");
        Ok(())
    }

    fn line(&self) -> Result<String> {
        let line = self.said.recv_timeout(*DEADLINE);
        line.with_context(|| format!("load said nothing in {} s", DEADLINE.as_secs()))
    }
}

/// A storm from its gate to its end, and what was counted of it.
#[derive(Debug)]
pub struct Stormed {
    /// What it did.
    pub truth: Truth,
    /// The tracer's exit and texts.
    pub tracer: Outcome,
    /// The tracer's report.
    pub report: Report,
}

/// Traces a storm; `tracer` has further arguments.
pub fn trace(name: &str, much: u64, arguments: &[&str]) -> Result<Stormed> {
    let mut storm = Storm::start(name, much)?;
    let tracer = Tracer::on_pid(storm.pid());
    let tracer = arguments.iter().fold(tracer, |tracer, word| tracer.arg(*word)).start()?;
    storm.open_gate()?;
    let truth = storm.wait()?;
    storm.end()?;
    let outcome = tracer.finish()?;
    let report = outcome.report()?;
    Ok(Stormed { truth, tracer: outcome, report })
}

impl Stormed {
    /// Processes that were counted, the root left out.
    pub fn processes(&self) -> u64 {
        self.report.processes.len() as u64 - 1
    }

    /// Writes and bytes that were counted on fd 1.
    pub fn written(&self) -> (u64, u64) {
        let mut sums = (0, 0);
        for (_, row) in self.report.rows().filter(|(_, row)| row.fd == Some(1)) {
            sums = (sums.0 + row.writes, sums.1 + row.bytes);
        }
        sums
    }

    /// How many processes were counted with so many bytes, by bytes.
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

    /// Everybody is there with what they wrote, every pipe balances, and nothing was lost.
    pub fn exact(&self) -> Result<()> {
        let Self { truth, report, .. } = self;
        crate::expect::no_losses(report)?;
        ensure!(self.processes() == truth.processes, "{} of {truth:?}", self.processes());
        ensure!(self.written() == (truth.writes, truth.bytes), "{:?}: {truth:?}", self.written());
        ensure!(self.each() == truth.each, "the sums agree, and single processes do not");
        let unbalanced = report.objects.iter().find(|object| object.balanced == Some(false));
        ensure!(unbalanced.is_none(), "{unbalanced:?}");
        Ok(())
    }
}

/// How many facts were lost for this reason.
pub fn lost(report: &Report, reason: &str) -> u64 {
    report.losses.get(reason).and_then(serde_json::Value::as_u64).unwrap_or(0)
}

/// Losses are the headline, for these reasons and no other, and no finding that rests on counts is certain.
pub fn doubts(report: &Report, reasons: &[&str]) -> Result<()> {
    report.headline("own_losses")?;
    let losses = report.losses();
    let other = losses.iter().find(|(reason, _)| !reasons.contains(&reason.as_str()));
    ensure!(other.is_none(), "also lost: {losses:?}");
    let is_about_blindness = |rule: &str| ["own_losses", "unbalanced"].contains(&rule);
    let mut findings = report.findings.iter();
    let sure = findings.find(|it| !is_about_blindness(&it.rule) && it.confidence != "unsure");
    ensure!(sure.is_none(), "said with confidence: {sure:#?}");
    Ok(())
}
