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
    let own = if subject.bytes() == 0 { "; nothing to its own stdout and stderr" } else { "" };
    let message = format!(
        "{} redirected its output: {} went to {}{own}.{}",
        words::who(subject),
        units::exact(bytes),
        list(&places, ", "),
        words::ending(subject)
    );
    let mut finding = evidence::finding(case, subject, Rule::Elsewhere, Severity::Info, message);
    finding.advice = Some("Look there for its output.".into());
    let finding = evidence::with(finding, "objects", json!(places));
    vec![evidence::with(finding, "only", json!(subject.bytes() == 0))]
}
