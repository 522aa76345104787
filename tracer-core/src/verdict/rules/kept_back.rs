//! A process read output and passed nothing on: it was killed before it wrote, or it could not reach the place where it
//! passes bytes on to.

use serde_json::json;
use tracer_common::ledger::{READ, WRITE};

use super::super::{Case, evidence, words};
use crate::{
    session::{FactKind, Process},
    text::{self, errno, units},
    verdict::{Confidence, Finding, Rule, Severity},
};

/// `signal(7)`: the process after it had enough.
const SIGPIPE: u32 = 13;

pub(super) fn find(case: &Case<'_>) -> Vec<Finding> {
    let targets = case.session.processes.values();
    let ended = targets.filter(|process| process.is_target && process.end_ns.is_some());
    ended.filter_map(|process| of_process(case, process)).collect()
}

fn of_process(case: &Case<'_>, process: &Process) -> Option<Finding> {
    let (read, from) = read_of_targets(case, process)?;
    if !passed_nothing(case, process) {
        return None;
    }
    let why = why(process)?;
    let message = format!(
        "{} read {} from {from} and passed on nothing: {why}.",
        words::called(process),
        units::exact(read)
    );
    let mut finding = evidence::of_process(process, Rule::KeptBack, Severity::Loss, message);
    let is_complete = !case.has_losses() && !process.attached_late;
    finding.confidence = if is_complete { Confidence::Certain } else { Confidence::Unsure };
    finding.advice = Some(if process.signal().is_some() {
        "Find out who killed it: bytes that it had read are gone with it.".into()
    } else {
        "Start what listens there; until then its input is lost.".into()
    });
    Some(evidence::with_all(finding, [("read", json!(read)), ("passed_on", json!(0))]))
}

/// The bytes that a process read from other targets as its input, and the name of the writer of most of them.
fn read_of_targets(case: &Case<'_>, process: &Process) -> Option<(u64, String)> {
    let rows = case.session.rows_of(process.id, READ);
    let mut inputs: Vec<(u64, String)> = rows
        .filter(|(key, row)| key.fd == 0 && row.bytes > 0)
        .filter_map(|(key, row)| {
            let flow = case.flows.get(&case.session.peer(&key.object));
            let mut writers = flow.writers.iter().filter(|writer| writer.process != process.id);
            let writer = writers.find(|writer| writer.bytes > 0)?;
            let known = case.session.processes.get(&writer.process)?;
            Some((row.bytes, known.short_at(writer.last_ns)))
        })
        .collect();
    inputs.sort_unstable();
    let (_, from) = inputs.last()?.clone();
    Some((inputs.iter().map(|(bytes, _)| bytes).sum(), from))
}

/// Whether a process wrote no byte anywhere, as far as that is known.
fn passed_nothing(case: &Case<'_>, process: &Process) -> bool {
    let mut rows = case.session.rows_of(process.id, WRITE);
    process.other_bytes == Some(0) && rows.all(|(_, row)| row.bytes == 0)
}

/// Why it passed nothing on. A process that ends by itself, such as `grep`, had nothing to say.
fn why(process: &Process) -> Option<String> {
    if let Some(signal) = process.signal().filter(|signal| *signal != SIGPIPE) {
        return Some(format!("it was killed by signal {signal}"));
    }
    let mut facts = process.facts.iter().rev();
    let failed = facts.find(|fact| fact.kind == FactKind::ConnectFailed)?;
    let error = errno::name(failed.errno);
    Some(format!("it could not connect to {} ({error})", text::name(&failed.about)))
}
