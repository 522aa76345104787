//! tracer itself could not record something, or its recording is not whole: said before any stronger
//! claim.

use serde_json::{Map, json};
use tracer_common::loss::LossCell;

use super::super::Case;
use crate::{
    recording::{self, REASONS},
    verdict::{Confidence, Finding, Severity},
};

pub(super) fn find(case: &Case<'_>) -> Vec<Finding> {
    let (of_recording, own): (Vec<_>, Vec<_>) =
        case.session.losses.iter().partition(|(reason, _)| REASONS.contains(&reason.as_str()));
    let mut findings = Vec::new();
    if !own.is_empty() {
        let events: u64 = own.iter().map(|(_, cell)| cell.events).sum();
        let reasons: Vec<&str> = own.iter().map(|(reason, _)| reason.as_str()).collect();
        let facts = if events == 1 { "1 fact".to_owned() } else { format!("{events} facts") };
        let message = format!(
            "tracer could not record {facts} ({}), so the counts below may be too small.",
            reasons.join(", ")
        );
        findings.push(finding(&own, message, cure(&reasons)));
    }
    for part in of_recording {
        let (message, advice) = words(part.0, part.1.events);
        findings.push(finding(&[part], message, advice));
    }
    findings
}

/// What helps against the first reason that something helps against.
fn cure(reasons: &[&str]) -> &'static str {
    let has = |prefix: &str| reasons.iter().any(|reason| reason.starts_with(prefix));
    if has("processes_full") {
        "Raise --max-processes, or trace fewer processes."
    } else if has("objects_full") || has("read_ends_full") {
        "Raise --max-objects, or trace fewer processes."
    } else if has("ledger_full") {
        "Raise --max-processes, or trace fewer processes."
    } else if has("ring_full") || has("uring_full") || has("skipped_runs") {
        "Trace fewer processes, or again when the machine has less to do."
    } else if has("uring_unmatched") {
        "Start the command with `tracer -- COMMAND`, so that it is traced from its first request."
    } else {
        "The table of losses below names each kind; what it stands for was not counted."
    }
}

fn words(reason: &str, events: u64) -> (String, &'static str) {
    if reason == recording::CUT {
        let message = "The recording stops before the end of the trace, so what came later is not \
                       in this report and the counts below may be too small.";
        let advice = "tracer was killed while it recorded, the disk was full, or the file was cut \
                      later: end a trace with Ctrl-C or --duration.";
        return (message.to_owned(), advice);
    }
    let lines = if events == 1 { "1 line".to_owned() } else { format!("{events} lines") };
    let message = format!(
        "{lines} of the recording could not be read, so the counts below may be too small."
    );
    (message, "Report from the file as tracer wrote it, if there is a copy.")
}

fn finding(losses: &[(&String, &LossCell)], message: String, advice: &str) -> Finding {
    let evidence: Map<_, _> = losses
        .iter()
        .map(|(reason, cell)| {
            ((*reason).clone(), json!({"events": cell.events, "bytes": cell.bytes}))
        })
        .collect();
    Finding {
        rule: "own_losses".into(),
        severity: Severity::Warning,
        confidence: Confidence::Certain,
        pid: 0,
        fd: None,
        message,
        advice: Some(advice.to_owned()),
        evidence,
    }
}
