//! Traced runs of workloads, from before the first write to the end of the process tree.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, Result};

use crate::{
    kernel::is_at_least,
    paths::{self, Identity},
    privilege::require_root,
    refusal::run_command,
    report::Report,
    tracer::{Outcome, Tracer, binary, parse},
    workload::{Finished, Workload},
};

/// A traced workload.
#[derive(Debug)]
pub struct Traced {
    /// Its command line, for messages.
    pub words: String,
    /// The workload's own results.
    pub workload: Finished,
    /// Tracer's exit status and output.
    pub tracer: Outcome,
    /// Tracer's report.
    pub report: Report,
}

/// Traces a workload.
pub fn trace(workload: &Workload) -> Result<Traced> {
    trace_with(workload, |tracer| tracer)
}

/// Traces a workload with more arguments for tracer.
pub fn trace_with(workload: &Workload, adjust: impl FnOnce(Tracer) -> Tracer) -> Result<Traced> {
    let words = workload.words();
    let mut running = workload.clone().gated().spawn()?;
    let tracer = adjust(Tracer::on_pid(running.pid())).start()?;
    running.open_gate()?;
    let finished = running.finish().with_context(|| format!("workload {words}"))?;
    let outcome = tracer.finish().with_context(|| format!("tracing workload {words}"))?;
    Traced::new(words, finished, outcome)
}

/// Traces a command in a folder, from its start to its end. Its own output is not kept.
pub fn trace_command(folder: &Path, command: &[&str]) -> Result<Report> {
    require_root()?;
    let mut tracer = Command::new(binary()?);
    tracer.current_dir(folder).args(["-q", "--no-live", "--format", "json", "-o", "report"]);
    run_command(tracer.arg("--").args(command))?;
    parse(&fs::read_to_string(folder.join("report"))?)
}

impl Traced {
    /// Joins a workload's results with those of its tracer.
    pub fn new(words: String, workload: Finished, tracer: Outcome) -> Result<Self> {
        let report = tracer.report().with_context(|| format!("tracing workload {words}"))?;
        Ok(Self { words, workload, tracer, report })
    }
}

/// Several workloads in one trace.
#[derive(Debug)]
pub struct Together {
    /// The workloads' command lines, for messages, and their results.
    pub workloads: Vec<(String, Finished)>,
    /// Tracer's exit status and output.
    pub tracer: Outcome,
    /// Tracer's report on all workloads.
    pub report: Report,
}

/// Runs several workloads, one after the other, in one trace. This is faster than a trace for each,
/// because loading the BPF programs takes longer than the workloads.
pub fn trace_together(workloads: &[Workload]) -> Result<Together> {
    let mut running = Vec::new();
    let mut tracer = Tracer::default();
    for workload in workloads {
        let workload = workload.clone().gated();
        let started = workload.spawn()?;
        tracer = tracer.arg("--pid").arg(started.pid().to_string());
        running.push((workload.words(), started));
    }
    let tracer = tracer.start()?;
    let mut finished = Vec::new();
    for (words, mut started) in running {
        started.open_gate()?;
        let ended = started.finish().with_context(|| format!("workload {words}"))?;
        finished.push((words, ended));
    }
    let outcome = tracer.finish().context("tracing several workloads")?;
    let report = outcome.report()?;
    Ok(Together { workloads: finished, tracer: outcome, report })
}

/// The first kernel with reliable `IOSQE_ASYNC` requests.
///
/// On Debian's 6.1.176 the requesting process sometimes hangs in the kernel and cannot be killed, also
/// without a tracer. 6.12.107 does not have this bug.
const RELIABLE_ASYNC: (u32, u32) = (6, 12);

/// One path with every [`Identity`]; empty if the path can hang the kernel.
pub fn identities_of(name: &str) -> Result<Vec<Workload>> {
    let path = paths::find(name).with_context(|| format!("unknown path {name}"))?;
    if path.name == "uring-async" && !is_at_least(RELIABLE_ASYNC)? {
        eprintln!("SKIPPED: {name}: it can hang this kernel, even without tracer");
        return Ok(Vec::new());
    }
    let with = |identity: Identity| Workload::new(path.name).arg(identity.word()).on(path.kind);
    Ok(Identity::ALL.map(with).to_vec())
}
