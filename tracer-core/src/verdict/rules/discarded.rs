//! The output went to `/dev/null`.

use tracer_common::{
    id::ProcessId,
    ledger::{LedgerKey, READ, WRITE},
};

use super::super::{Case, Stream, Subject, evidence, words};
use crate::{
    session::Kind,
    text::units,
    verdict::{Finding, Rule, Severity},
};

pub(super) fn find(case: &Case<'_>, subject: &Subject<'_>) -> Vec<Finding> {
    let given = subject.streams().into_iter().filter(|stream| is_null(stream));
    let mut findings: Vec<Finding> = given.map(|stream| of_stream(case, subject, stream)).collect();
    if subject.attempts() == 0 && subject.redirected.is_empty() && subject.discards_output() {
        findings.push(of_redirection(case, subject));
    }
    findings
}

fn is_null(stream: &Stream) -> bool {
    stream.kind == Kind::Null && stream.row.bytes > 0
}

/// The command was started with `/dev/null`. That is a warning if nothing else arrived.
fn of_stream(case: &Case<'_>, subject: &Subject<'_>, stream: &Stream) -> Finding {
    let arrives = |other: &&Stream| other.row.bytes > 0 && !is_null(other);
    let is_all = !subject.streams().iter().any(arrives)
        && subject.redirected.is_empty()
        && !has_other_output(case, subject)
        && !is_copy(case, subject, |key| key.object == stream.object && key.fd == stream.fd);
    let is_late = subject.process.attached_late;
    let message = format!(
        "{} wrote {}{} to {}, which {}: discarded.{}",
        words::writer(subject, stream),
        units::exact(stream.row.bytes),
        words::since_attached(subject),
        stream.name(),
        if is_late { "is /dev/null" } else { "was /dev/null from the start" },
        words::ending(subject)
    );
    let severity = if is_all { Severity::Warning } else { Severity::Info };
    let finding = evidence::finding(case, subject, Rule::Discarded, severity, message);
    let finding = evidence::with_stream(finding, case, stream);
    let mut finding = evidence::seen(case, stream, finding);
    finding.advice = Some(if is_late {
        "Look for `>/dev/null` in its start line, and in what starts it.".to_owned()
    } else {
        format!(
            "The process that starts it passes /dev/null as {}: pass a pipe or a file instead.",
            stream.name()
        )
    });
    finding
}

/// Whether a command that it started wrote something: a daemon's own messages may go to `/dev/null`.
fn has_other_output(case: &Case<'_>, subject: &Subject<'_>) -> bool {
    let own = subject.process.id;
    let mut others =
        case.subjects.iter().chain(&case.inner).filter(|other| other.process.id != own);
    others.any(|other| other.bytes() > 0 && case.is_above(own, other.process))
}

/// Whether what went there is a copy: each process that wrote there wrote what it had read, and at least as many bytes to
/// other places, as `tee FILE >/dev/null` does.
fn is_copy(
    case: &Case<'_>,
    subject: &Subject<'_>,
    goes_there: impl Fn(&LedgerKey) -> bool,
) -> bool {
    subject.members.iter().all(|member| {
        let (mut there, mut elsewhere) =
            (0, case.session.processes[member].other_bytes.unwrap_or(0));
        for (key, row) in case.session.rows_of(*member, WRITE) {
            *(if goes_there(key) { &mut there } else { &mut elsewhere }) += row.bytes;
        }
        there == 0 || there == read_by(case, *member) && elsewhere >= there
    })
}

/// Bytes that a process read.
fn read_by(case: &Case<'_>, process: ProcessId) -> u64 {
    case.session.rows_of(process, READ).map(|(_, row)| row.bytes).sum()
}

/// The command itself, or what it started, redirected everything to `/dev/null`.
fn of_redirection(case: &Case<'_>, subject: &Subject<'_>) -> Finding {
    let (who, sum) = (words::who(subject), units::exact(subject.discarded));
    let goes_there = |key: &LedgerKey| {
        matches!(key.fd, 1 | 2) && case.session.object_kind(&key.object) == Kind::Null
    };
    let is_copy = is_copy(case, subject, goes_there);
    let writer = subject.only_writer(case.session, goes_there);
    let message = match writer.filter(|writer| writer.id != subject.process.id) {
        Some(writer) if is_copy => format!(
            "{} wrote all {sum} that it read to other places than its stdout, which goes to /dev/null inside {who}.{}",
            words::called(writer),
            words::end_of(writer)
        ),
        Some(writer) => format!(
            "{} wrote {sum} to {}, which goes to /dev/null inside {who}: discarded.{}",
            words::called(writer),
            match subject.silenced {
                0 => "stdout",
                silenced if silenced == subject.discarded => "stderr",
                _ => "stdout and stderr",
            },
            words::end_of(writer)
        ),
        None if is_copy => format!(
            "{who} wrote nothing to its own stdout and stderr; the {sum} that went to /dev/null are a copy of what it \
             wrote to other places.{}",
            words::ending(subject)
        ),
        None => format!(
            "{who} redirected all its output to /dev/null: {sum} discarded, nothing to its own stdout and stderr.{}",
            words::ending(subject)
        ),
    };
    let (severity, advice) = match is_copy {
        true => (Severity::Info, "Look in the files that it writes to: --all-fds shows them."),
        false => (Severity::Warning, "Look for `>/dev/null` in what it runs."),
    };
    let mut finding = evidence::finding(case, subject, Rule::Discarded, severity, message);
    finding.advice = Some(advice.into());
    evidence::with(finding, "discarded", serde_json::json!(subject.discarded))
}
