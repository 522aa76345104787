//! tracer itself could not record something: said before any stronger claim.

use serde_json::{Map, json};

use super::super::Case;
use crate::report::{Confidence, Finding, Severity};

pub(super) fn find(case: &Case<'_>) -> Vec<Finding> {
    let losses = &case.session.losses;
    if losses.is_empty() {
        return Vec::new();
    }
    let events: u64 = losses.values().map(|cell| cell.events).sum();
    let reasons: Vec<&str> = losses.keys().map(String::as_str).collect();
    let evidence: Map<_, _> = losses
        .iter()
        .map(|(reason, cell)| (reason.clone(), json!({"events": cell.events, "bytes": cell.bytes})))
        .collect();
    vec![Finding {
        rule: "own_losses".into(),
        severity: Severity::Warning,
        confidence: Confidence::Certain,
        pid: 0,
        fd: None,
        message: format!(
            "tracer could not record {events} facts ({}), so the counts below may be too small.",
            reasons.join(", ")
        ),
        advice: Some("Trace fewer processes, or raise --max-processes and --max-objects.".into()),
        evidence,
    }]
}
