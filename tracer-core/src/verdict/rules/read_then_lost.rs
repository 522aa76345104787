//! A manager read the bytes, and its log has fewer: the manager lost them after it had read them.

use serde_json::json;

use super::super::{Case, Stream, Subject, evidence, words};
use crate::{
    event::Claim,
    text::units,
    verdict::{Confidence, Finding, Rule, Severity},
};

/// gRPC's default limit of a received message (`defaultClientMaxReceiveMessageSize`).
const GRPC_LIMIT: u64 = 4 << 20;

pub(super) fn find(case: &Case<'_>, subject: &Subject<'_>) -> Vec<Finding> {
    if case.claims_about.is_empty() {
        return Vec::new();
    }
    let about = subject.members.iter().filter_map(|member| case.claims_about.get(member));
    let claims: Vec<&Claim> = about.flatten().copied().collect();
    if claims.is_empty() {
        return Vec::new();
    }
    subject
        .distinct_streams()
        .into_iter()
        .filter_map(|stream| of_stream(case, subject, stream, &claims))
        .collect()
}

fn of_stream(
    case: &Case<'_>,
    subject: &Subject<'_>,
    stream: &Stream,
    claims: &[&Claim],
) -> Option<Finding> {
    let flow = case.flows.get(&stream.object);
    let is_shared = flow
        .writers
        .iter()
        .any(|endpoint| endpoint.bytes > 0 && !subject.members.contains(&endpoint.process));
    if is_shared {
        // The manager also read bytes of other processes, which the log counts separately.
        return None;
    }
    let both = subject.stdout.object == subject.stderr.object;
    let of = |claim: &Claim| match (both, stream.fd) {
        (true, _) => [claim.stdout.claimed(), claim.stderr.claimed()]
            .into_iter()
            .flatten()
            .reduce(u64::saturating_add),
        (false, 1) => claim.stdout.claimed(),
        (false, _) => claim.stderr.claimed(),
    };
    let returned: Option<u64> =
        claims.iter().filter_map(|claim| of(claim)).reduce(u64::saturating_add);
    let lost = flow.read.checked_sub(returned.unwrap_or(0)).filter(|lost| *lost > 0)?;
    let reader = flow.readers_in_words().unwrap_or_else(|| "its reader".to_owned());
    let statement = match returned {
        Some(returned) => format!("its log says that it handed out {}", units::exact(returned)),
        None => "its log has no line that it handed any of it out".to_owned(),
    };
    // What could not be read of a log may have the missing bytes.
    let doubt = doubt(case);
    let message = format!(
        "{reader} read {} of {} from {}, and {statement}{doubt}: {} were lost in the manager, after it had read them.{}",
        units::exact(flow.read),
        stream.name(),
        words::writer(subject, stream),
        units::exact(lost),
        words::ending(subject)
    );
    // A client may still ask for the output of a running command.
    let is_final = subject.process.end_ns.is_some();
    let severity = if is_final { Severity::Loss } else { Severity::Warning };
    let finding = evidence::finding(case, subject, Rule::ReadThenLost, severity, message);
    let mut finding = evidence::with_stream(finding, case, stream);
    if !doubt.is_empty() || !is_final {
        finding.confidence = Confidence::Unsure;
    }
    finding.advice = Some(advice(subject, flow.read, returned));
    let facts = [
        ("read", json!(flow.read)),
        ("handed_out", json!(returned.unwrap_or(0))),
        ("lost", json!(lost)),
        ("source", json!("worker log")),
    ];
    Some(evidence::with_all(finding, facts))
}

/// What could not be read of the logs, as an addition to a sentence.
fn doubt(case: &Case<'_>) -> String {
    let logs = || case.session.logs_read.iter();
    let bad: u64 = logs().map(|log| log.bad).fold(0, u64::saturating_add);
    let unread: u64 = logs().map(|log| log.unread).fold(0, u64::saturating_add);
    match (bad, unread) {
        (0, 0) => String::new(),
        (bad, 0) => format!(" ({} of the log could not be read)", units::count(bad, "line")),
        (_, unread) => format!(" ({} of the logs could not be read in time)", units::bytes(unread)),
    }
}

/// The likeliest known cause for a loss in a manager.
fn advice(subject: &Subject<'_>, read: u64, returned: Option<u64>) -> String {
    if read > GRPC_LIMIT {
        return format!(
            "{} are more than gRPC's default limit of {} for one answer: the answer fails after the \
             buffer was emptied.",
            units::exact(read),
            units::exact(GRPC_LIMIT)
        );
    }
    match (subject.process.exit_code(), returned) {
        (Some(code), None) if code != 0 => format!(
            "It exited with {code}: a manager that waits for the command and returns an error drops \
             the output with it."
        ),
        (_, None) => "An answer that failed after the buffer was emptied leaves no line: look for \
                      RPC errors, and for output that is not UTF-8 where the answer is text."
            .to_owned(),
        _ => "Look at what the manager does with what it has read: limits, retries of a read that \
              empties, dropped lines."
            .to_owned(),
    }
}
