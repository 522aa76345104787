//! Builds findings with their evidence, which scripts read.

use serde_json::{Map, Value, json};

use super::{Case, Stream, Subject};
use crate::{
    session::{Close, Process},
    verdict::{Confidence, Finding, Rule, Severity},
};

/// The confidence of a finding about one stream that rests on calls that tracer saw: it does not matter how late tracer
/// attached.
pub(super) fn seen(case: &Case<'_>, stream: &Stream, mut finding: Finding) -> Finding {
    if case.flows.get(&stream.object).doubts.is_empty() {
        finding.confidence = case.confidence_of_look();
    }
    finding
}

/// A finding about a subject with its basic evidence.
pub(super) fn finding(
    case: &Case<'_>,
    subject: &Subject<'_>,
    rule: Rule,
    severity: Severity,
    message: String,
) -> Finding {
    let mut evidence = Map::new();
    evidence.insert("comm".into(), json!(subject.process.comm));
    evidence.insert("stdout_bytes".into(), json!(subject.stdout.row.bytes));
    evidence.insert("stderr_bytes".into(), json!(subject.stderr.row.bytes));
    evidence.insert("processes".into(), json!(processes(case, subject)));
    if let Some(code) = subject.process.exit_code() {
        evidence.insert("exit_code".into(), json!(code));
    }
    let refused: Vec<i32> =
        [1, 2].into_iter().filter(|fd| subject.was_refused_a_terminal(*fd)).collect();
    if !refused.is_empty() {
        evidence.insert("no_terminal".into(), json!(refused));
    }
    if let Some(signal) = subject.process.signal() {
        evidence.insert("signal".into(), json!(signal));
    }
    Finding {
        rule,
        severity,
        confidence: case.confidence(subject),
        pid: subject.process.id.tgid,
        start_ns: subject.process.id.start_ns,
        fd: None,
        message,
        advice: None,
        evidence,
    }
}

/// A finding about one process, which is no whole subject.
pub(super) fn of_process(
    process: &Process,
    rule: Rule,
    severity: Severity,
    message: String,
) -> Finding {
    let mut evidence = Map::new();
    evidence.insert("comm".into(), json!(process.comm));
    let ends = [("exit_code", process.exit_code()), ("signal", process.signal())];
    for (name, value) in ends {
        if let Some(value) = value {
            evidence.insert(name.into(), json!(value));
        }
    }
    Finding {
        rule,
        severity,
        confidence: Confidence::Unsure,
        pid: process.id.tgid,
        start_ns: process.id.start_ns,
        fd: None,
        message,
        advice: None,
        evidence,
    }
}

/// Number of processes of a subject.
fn processes(case: &Case<'_>, subject: &Subject<'_>) -> u64 {
    let known = |member| case.session.processes.get(member).and_then(|known| known.summed_up);
    subject.members.iter().map(|member| known(member).map_or(1, |sums| sums.processes)).sum()
}

/// Adds the numbers of a stream.
pub(super) fn with_stream(mut finding: Finding, case: &Case<'_>, stream: &Stream) -> Finding {
    finding.fd = Some(stream.fd);
    let flow = case.flows.get(&stream.object);
    let row = &stream.row;
    let finding = with_all(
        finding,
        [
            ("object", json!(case.session.object_name(&stream.object))),
            ("kind", json!(stream.kind.name())),
            ("written", json!(flow.written)),
            ("read", json!(flow.read)),
            ("unread", json!(flow.unread)),
            ("calls", json!(row.calls)),
            ("bytes_per_write", json!(row.bytes.checked_div(row.calls))),
        ],
    );
    if row.calls == 0 {
        return finding;
    }
    with(finding, "first_write_ms", json!(case.session.since_start_ms(row.first_ns)))
}

/// Adds the process that closed the last read end, and when.
pub(super) fn with_closer(finding: Finding, case: &Case<'_>, closer: Option<&Close>) -> Finding {
    let closed_ms = closer.map(|closer| case.session.since_start_ms(closer.time_ns));
    let facts = [
        ("closer_pid", json!(closer.map(|closer| closer.process.tgid))),
        ("closer_comm", json!(closer.map(|closer| &closer.comm))),
        ("closed_ms", json!(closed_ms)),
    ];
    with_all(finding, facts)
}

/// Adds several numbers.
pub(super) fn with_all<const N: usize>(finding: Finding, facts: [(&str, Value); N]) -> Finding {
    facts.into_iter().fold(finding, |finding, (name, value)| with(finding, name, value))
}

/// Adds one more number.
pub(super) fn with(mut finding: Finding, name: &str, value: Value) -> Finding {
    finding.evidence.insert(name.to_owned(), value);
    finding
}
