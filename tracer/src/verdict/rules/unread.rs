//! Bytes were left in the pipe: nobody took them out, and perhaps nobody can any more.

use serde_json::json;
use tracer_common::{ledger::READ, object::ObjectId};

use super::super::{Case, Stream, Subject, evidence, words};
use crate::{
    report::{Finding, Severity},
    session::{Close, Holding},
};

/// A reader that took something this recently is at work.
const AT_WORK_NS: u64 = 500_000_000;

pub(super) fn find(case: &Case<'_>, subject: &Subject<'_>) -> Vec<Finding> {
    subject
        .distinct_streams()
        .into_iter()
        .filter_map(|stream| {
            let flow = case.flows.get(&stream.object);
            let unread = flow.unread.filter(|unread| *unread > 0)?;
            let own = subject.bytes_to(stream) + flow.in_flight;
            (own > 0).then(|| tell(case, subject, stream, own, unread))
        })
        .collect()
}

fn tell(case: &Case<'_>, subject: &Subject<'_>, stream: &Stream, own: u64, unread: u64) -> Finding {
    let flow = case.flows.get(&stream.object);
    let far = case.session.far_end(&stream.object);
    let reader = case
        .session
        .holders(&far)
        .find(|holding| holding.reads() && !subject.members.contains(&holding.process));
    let closer = case.session.last_closer(&far).filter(|_| reader.is_none());
    let at_work = reader.is_some() && is_at_work(case, &far);
    let others = if flow.written + flow.in_flight > own { " together with others" } else { "" };
    let are = if unread == 1 { "is" } else { "are" };
    let message = format!(
        "{} wrote {}{others} to {}; {} {are} still unread in {}: {}.{}",
        words::who(subject),
        words::bytes(own),
        stream.name(),
        words::bytes(unread),
        case.session.object_name(&stream.object),
        fate(subject, reader.filter(|_| !at_work), closer, at_work),
        words::ending(subject)
    );
    let severity = if at_work { Severity::Info } else { severity(case, subject, reader, closer) };
    let finding = evidence::finding(case, subject, "unread", severity, message);
    let mut finding = evidence::with_stream(finding, case, stream);
    finding.advice = Some(advice(reader, severity).into());
    let finding = evidence::with_closer(finding, case, closer);
    evidence::with(finding, "reader_alive", json!(reader.is_some()))
}

/// Whether somebody took bytes out of it until just before the end of the trace.
fn is_at_work(case: &Case<'_>, far: &ObjectId) -> bool {
    let rows = case.session.ledger.iter();
    rows.filter(|(key, row)| key.object == *far && key.direction == READ && row.bytes > 0)
        .any(|(_, row)| case.session.end_ns.saturating_sub(row.last_ns) < AT_WORK_NS)
}

fn fate(
    subject: &Subject<'_>,
    reader: Option<&Holding>,
    closer: Option<&Close>,
    at_work: bool,
) -> String {
    if at_work {
        return "they were on their way, the reader was at work when the trace ended".to_owned();
    }
    match (reader, closer) {
        (Some(reader), _) => {
            format!("{} (pid {}) can still read it but has not", reader.comm, reader.process.tgid)
        }
        (None, Some(closer)) => format!("{}: lost", words::gave_up(closer, subject)),
        (None, None) => "nobody holds its read end any more: lost".to_owned(),
    }
}

/// A reader that still can is slow; a command beside it that had enough (`head`) is by design.
fn severity(
    case: &Case<'_>,
    subject: &Subject<'_>,
    reader: Option<&Holding>,
    closer: Option<&Close>,
) -> Severity {
    match (reader, closer) {
        (Some(_), _) => Severity::Warning,
        (None, Some(closer)) if case.is_beside(subject, closer.process) => Severity::Info,
        _ => Severity::Loss,
    }
}

fn advice(reader: Option<&Holding>, severity: Severity) -> &'static str {
    match (reader, severity) {
        (Some(_), Severity::Info) => "Trace for longer, until the command ends.",
        (Some(_), _) => "The reader is slow, blocked or has stopped reading: look at what it does.",
        (None, Severity::Info) => {
            "The next command of the pipeline had read what it wanted (as `head` does)."
        }
        _ => "The reader must read to the end of the stream before it closes the pipe.",
    }
}
