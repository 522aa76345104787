//! One traced run: a gated workload, the tracer on it, both to their ends.

use anyhow::{Context, Result, ensure};

use crate::{
    expect::{self, MatchBy},
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

/// Traces one path with every [`Identity`] and holds each run to [`expect::exact_by`]; the error
/// names all that failed.
pub fn every_identity(name: &str, by: MatchBy) -> Result<()> {
    let path = paths::find(name).with_context(|| format!("no path is called {name}"))?;
    let mut failures = String::new();
    for identity in Identity::ALL {
        let workload = Workload::new(path.name).arg(identity.word()).on(path.kind);
        if let Err(error) = trace(&workload).and_then(|traced| expect::exact_by(&traced, by)) {
            failures += &format!("{}: {error:#}\n", identity.word());
        }
    }
    ensure!(failures.is_empty(), "{failures}");
    Ok(())
}
