//! The numbers a finding rests on, in the form that scripts read.

use serde_json::{Map, Value, json};

use super::{Case, Stream, Subject};
use crate::{
    report::{Finding, Severity},
    session::Close,
};

/// A finding about a subject with its basic evidence.
pub(super) fn finding(
    case: &Case<'_>,
    subject: &Subject<'_>,
    rule: &str,
    severity: Severity,
    message: String,
) -> Finding {
    let mut evidence = Map::new();
    evidence.insert("comm".into(), json!(subject.process.comm));
    evidence.insert("stdout_bytes".into(), json!(subject.stdout.row.bytes));
    evidence.insert("stderr_bytes".into(), json!(subject.stderr.row.bytes));
    evidence.insert("processes".into(), json!(subject.members.len()));
    if let Some(code) = subject.process.exit_code() {
        evidence.insert("exit_code".into(), json!(code));
    }
    if let Some(signal) = subject.process.signal() {
        evidence.insert("signal".into(), json!(signal));
    }
    Finding {
        rule: rule.to_owned(),
        severity,
        confidence: case.confidence(subject),
        pid: subject.process.id.tgid,
        fd: None,
        message,
        advice: None,
        evidence,
    }
}

/// Adds what is known of a stream.
pub(super) fn with_stream(mut finding: Finding, case: &Case<'_>, stream: &Stream) -> Finding {
    finding.fd = Some(stream.fd);
    let flow = case.flows.get(&stream.object);
    let mut put = |name: &str, value: Value| {
        finding.evidence.insert(name.to_owned(), value);
    };
    put("object", json!(case.session.object_name(&stream.object)));
    put("kind", json!(stream.kind.name()));
    put("written", json!(flow.written));
    put("read", json!(flow.read));
    put("unread", json!(flow.unread));
    put("calls", json!(stream.row.calls));
    put("bytes_per_write", json!(stream.row.bytes.checked_div(stream.row.calls)));
    if stream.row.calls > 0 {
        put("first_write_ms", json!(case.session.since_start_ms(stream.row.first_ns)));
    }
    finding
}

/// Adds who gave up the last reading end, and when.
pub(super) fn with_closer(
    mut finding: Finding,
    case: &Case<'_>,
    closer: Option<&Close>,
) -> Finding {
    let mut put = |name: &str, value: Value| {
        finding.evidence.insert(name.to_owned(), value);
    };
    put("closer_pid", json!(closer.map(|closer| closer.process.tgid)));
    put("closer_comm", json!(closer.map(|closer| &closer.comm)));
    put("closed_ms", json!(closer.map(|closer| case.session.since_start_ms(closer.time_ns))));
    finding
}

/// Adds one more number.
pub(super) fn with(mut finding: Finding, name: &str, value: Value) -> Finding {
    finding.evidence.insert(name.to_owned(), value);
    finding
}
