//! fd 1 or 2 was redirected after the start, so the output did not go to the manager's pipe.

use std::collections::BTreeSet;

use serde_json::json;

use super::super::{Case, Subject, evidence, words};
use crate::{
    text::{list, units},
    verdict::{Finding, Rule, Severity},
};

pub(super) fn find(case: &Case<'_>, subject: &Subject<'_>) -> Vec<Finding> {
    let bytes: u64 = subject.redirected.iter().map(|(_, bytes)| bytes).sum();
    if bytes == 0 || subject.process.attached_late {
        return Vec::new();
    }
    let objects: BTreeSet<_> = subject.redirected.iter().map(|(object, _)| *object).collect();
    let places: Vec<String> =
        objects.iter().map(|object| case.session.object_name(object)).collect();
    let message = format!(
        "{} wrote {} to {}, not to the stdout and stderr it was started with.{}",
        words::who(subject),
        units::exact(bytes),
        list(&places, ", "),
        words::ending(subject)
    );
    let severity = if subject.bytes() == 0 { Severity::Warning } else { Severity::Info };
    let mut finding = evidence::finding(case, subject, Rule::Elsewhere, severity, message);
    finding.advice = Some("It redirected its own output: look there.".into());
    vec![evidence::with(finding, "objects", json!(places))]
}
