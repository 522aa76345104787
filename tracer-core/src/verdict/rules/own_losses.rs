//! tracer itself could not record something, or its recording is incomplete. Reported before any stronger claim.

use serde_json::{Map, json};
use tracer_common::loss::{LossCell, Reason};

use super::super::{Case, words};
use crate::{
    session::{LossReason, Uncounted, Witness, named},
    text::{list, units},
    verdict::{Confidence, Finding, Rule, Severity},
};

pub(super) fn find(case: &Case<'_>) -> Vec<Finding> {
    let of_trace = case.session.losses.iter().filter(|(reason, _)| !reason.is_of_object());
    let (recording, own): (Vec<_>, Vec<_>) = of_trace
        .partition(|(reason, _)| reason.is_of_recording() || **reason == LossReason::SummedUp);
    let mut findings = Vec::new();
    if !own.is_empty() {
        let events: u64 = own.iter().map(|(_, cell)| cell.events).sum();
        let reasons: Vec<&LossReason> = own.iter().map(|(reason, _)| *reason).collect();
        let message = format!(
            "tracer could not record {} ({}), so the counts below may be too small.",
            units::count(events, "fact"),
            list(reasons.iter().map(|reason| reason.name()), ", ")
        );
        findings.push(finding(&own, message, cure(&reasons)));
    }
    for part in recording {
        let (message, advice) = of_session(part.0, part.1.events);
        findings.push(finding(&[part], message, advice));
    }
    findings.extend(unseen(case));
    findings
}

/// Bytes that the kernel counted, or that a file grew by, and that tracer did not see.
fn unseen(case: &Case<'_>) -> Option<Finding> {
    let uncounted = &case.flows.uncounted;
    let bytes: u64 = uncounted.iter().map(|found| found.bytes).sum();
    if uncounted.is_empty() {
        return None;
    }
    let parts = list(uncounted.iter().map(|found| testimony(case, found)), "; ");
    let message = format!("Bytes passed tracer unseen: {parts}.");
    let reason = LossReason::Trace(Reason::Uncounted);
    let cell = LossCell { events: uncounted.len() as u64, bytes };
    let advice = "They went a way that tracer does not count: a mapping of the file, native AIO, an \
                  extension of the file, or a call that hides from it. Trust the file or the reader, \
                  not the counts below.";
    Some(finding(&[(&reason, &cell)], message, advice))
}

fn testimony(case: &Case<'_>, found: &Uncounted) -> String {
    let bytes = units::exact(found.bytes);
    match found.by {
        Witness::Process(id) => {
            let comm = case.session.processes.get(&id).map_or("", |process| &process.comm);
            format!("the kernel counted {bytes} more written by {}", named(comm, id))
        }
        Witness::File(id) => {
            let name = words::object(case, &id);
            format!("{name} grew by {bytes} without a write")
        }
    }
}

/// The remedy for the first reason that has one.
fn cure(reasons: &[&LossReason]) -> &'static str {
    let has = |reason: Reason| reasons.contains(&&LossReason::Trace(reason));
    if has(Reason::ProcessesFull) {
        "Raise --max-processes, or trace fewer processes."
    } else if has(Reason::ObjectsFull) || has(Reason::ReadEndsFull) {
        "Raise --max-objects, or trace fewer processes."
    } else if has(Reason::LedgerFull) {
        "Raise --max-processes, or trace fewer processes."
    } else if has(Reason::RingFull) || has(Reason::UringFull) || has(Reason::SkippedRuns) {
        "Trace fewer processes, or again when the machine has less to do."
    } else if has(Reason::UringUnmatched) {
        "Start the command with `tracer -- COMMAND`, so that it is traced from its first request."
    } else if reasons.contains(&&LossReason::ContainerMissed) {
        "Start the container first, then trace it by its name: tracer --container NAME."
    } else {
        "The table of losses below names each kind; what it stands for was not counted."
    }
}

fn of_session(reason: &LossReason, events: u64) -> (String, &'static str) {
    if *reason == LossReason::RecordingCut {
        let message = "The recording stops before the end of the trace, so what came later is not \
                       in this report and the counts below may be too small.";
        let advice = "tracer was killed while it recorded, the disk was full, or the file was cut \
                      later: end a trace with Ctrl-C or --duration.";
        return (message.to_owned(), advice);
    }
    if *reason == LossReason::SummedUp {
        let message = format!(
            "To keep to --max-memory, {} with output that was left, refused or not counted completely were summed up: \
             the counts are complete, but what became of each is not known.",
            units::count(events, "ended process")
        );
        let advice = "Raise --max-memory, or use --record FILE and `tracer report FILE`: the recording has every \
                      process.";
        return (message, advice);
    }
    let message = format!(
        "{} of the recording could not be read, so the counts below may be too small.",
        units::count(events, "line")
    );
    (message, "Report from the file as tracer wrote it, if there is a copy.")
}

fn finding(losses: &[(&LossReason, &LossCell)], message: String, advice: &str) -> Finding {
    let evidence: Map<_, _> = losses
        .iter()
        .map(|(reason, cell)| {
            (reason.name().to_owned(), json!({"events": cell.events, "bytes": cell.bytes}))
        })
        .collect();
    Finding {
        rule: Rule::OwnLosses,
        severity: Severity::Warning,
        confidence: Confidence::Certain,
        pid: 0,
        start_ns: 0,
        fd: None,
        message,
        advice: Some(advice.to_owned()),
        evidence,
    }
}
