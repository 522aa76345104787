//! One traced run: a gated workload, the tracer on it, both to their ends.

use anyhow::{Context, Result};

use crate::{
    expect::{self, MatchBy},
    kernel::is_at_least,
    paths::{self, Identity},
    report::Report,
    tracer::{Outcome, Tracer},
    workload::{Finished, Workload},
};

/// A run that has been traced.
#[derive(Debug)]
pub struct Traced {
    /// What was run, for messages.
    pub words: String,
    /// The workload's side.
    pub workload: Finished,
    /// The tracer's exit and texts.
    pub tracer: Outcome,
    /// The tracer's report.
    pub report: Report,
}

/// Traces a workload from before its first write to the end of its tree.
pub fn trace(workload: &Workload) -> Result<Traced> {
    trace_with(workload, |tracer| tracer)
}

/// The same with further arguments for the tracer.
pub fn trace_with(workload: &Workload, adjust: impl FnOnce(Tracer) -> Tracer) -> Result<Traced> {
    let words = workload.words();
    let mut running = workload.clone().gated().spawn()?;
    let tracer = adjust(Tracer::on_pid(running.pid())).start()?;
    running.open_gate()?;
    let finished = running.finish().with_context(|| format!("workload {words}"))?;
    let outcome = tracer.finish().with_context(|| format!("tracing workload {words}"))?;
    let report = outcome.report().with_context(|| format!("tracing workload {words}"))?;
    Ok(Traced { words, workload: finished, tracer: outcome, report })
}

/// Several runs that were traced in one.
#[derive(Debug)]
pub struct Together {
    /// What was run, for messages, and the workloads' side.
    pub workloads: Vec<(String, Finished)>,
    /// The tracer's exit and texts.
    pub tracer: Outcome,
    /// The tracer's report on all of them.
    pub report: Report,
}

/// Traces several workloads, one after the other, with one tracer: loading the programs takes
/// longer than all of them.
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

/// The first kernel on which requests that io_uring workers complete (`IOSQE_ASYNC`) always end.
///
/// Seen on Debian's 6.1.176, without any tracer as well: now and then the process that made them runs
/// on in the kernel for ever and cannot be killed. 6.12.107 has no such fault.
const ASYNC_ENDS: (u32, u32) = (6, 12);

/// One path with every [`Identity`]; none where the kernel itself does not survive it.
pub fn identities_of(name: &str) -> Result<Vec<Workload>> {
    let path = paths::find(name).with_context(|| format!("no path is called {name}"))?;
    if path.name == "uring-async" && !is_at_least(ASYNC_ENDS)? {
        eprintln!("SKIPPED: {name}: this kernel may hang in it, traced or not");
        return Ok(Vec::new());
    }
    let with = |identity: Identity| Workload::new(path.name).arg(identity.word()).on(path.kind);
    Ok(Identity::ALL.map(with).to_vec())
}

/// Traces one path with every [`Identity`] and holds the run to [`expect::exact_together`].
pub fn every_identity(name: &str, by: MatchBy) -> Result<()> {
    let workloads = identities_of(name)?;
    if workloads.is_empty() {
        return Ok(());
    }
    expect::exact_together(&trace_together(&workloads)?, by)
}
