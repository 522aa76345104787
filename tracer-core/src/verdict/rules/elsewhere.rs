//! fd 1 or 2 was redirected after the start, so the output did not go to the manager's pipe.

use std::collections::BTreeSet;

use serde_json::json;
use tracer_common::{ledger::WRITE, object::ObjectId};

use super::super::{Case, Subject, evidence, words};
use crate::{
    session::Process,
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
    let readers = readers(case, &objects).map_or(String::new(), |by| format!(", all read by {by}"));
    let (sum, names) = (units::exact(bytes), format!("{}{readers}", list(&places, ", ")));
    let is_only = subject.bytes() == 0;
    let own = if is_only { "; nothing to its own stdout and stderr" } else { "" };
    let who = match only_writer(case, subject, &objects) {
        Some(writer) if writer.id != subject.process.id => format!(
            "{} wrote {sum} to {names}, redirected inside {}",
            words::called(writer),
            words::who(subject)
        ),
        _ => format!("{} redirected its output: {sum} went to {names}{own}", words::who(subject)),
    };
    let message = format!("{who}.{}", words::ending(subject));
    let mut finding = evidence::finding(case, subject, Rule::Elsewhere, Severity::Info, message);
    finding.advice = Some("Look there for its output.".into());
    let finding = evidence::with(finding, "objects", json!(places));
    vec![evidence::with(finding, "only", json!(is_only))]
}

/// The readers of the only object, if they read all of it.
fn readers(case: &Case<'_>, objects: &BTreeSet<ObjectId>) -> Option<String> {
    let flow = case.flows.get(objects.first()?);
    let is_read = objects.len() == 1 && flow.read >= flow.written;
    flow.readers_in_words().filter(|_| is_read)
}

/// The process that wrote all of the redirected bytes, if it was one.
fn only_writer<'a>(
    case: &Case<'a>,
    subject: &Subject<'_>,
    objects: &BTreeSet<ObjectId>,
) -> Option<&'a Process> {
    let wrote = |member: &&_| {
        let mut rows = case.session.rows_of(**member, WRITE);
        rows.any(|(key, row)| {
            objects.contains(&key.object) && matches!(key.fd, 1 | 2) && row.bytes > 0
        })
    };
    let mut writers = subject.members.iter().filter(wrote);
    match (writers.next(), writers.next()) {
        (Some(only), None) => case.session.processes.get(only),
        _ => None,
    }
}
