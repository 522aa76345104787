//! All read ends were closed: EPIPE, and usually death by SIGPIPE.

use serde_json::json;
use tracer_common::ledger::error;

use super::super::{Case, Stream, Subject, evidence, words};
use crate::{
    session::Kind,
    text::units,
    verdict::{Finding, Rule, Severity},
};

pub(super) fn find(case: &Case<'_>, subject: &Subject<'_>) -> Vec<Finding> {
    subject
        .streams()
        .into_iter()
        .filter(|stream| refusals(stream) > 0)
        .map(|stream| describe(case, &subject.of_refused(case.session, stream), stream))
        .collect()
}

/// Failed writes that had no reader: `EPIPE`, and `EIO` of a terminal whose other half was closed.
pub(in crate::verdict) fn refusals(stream: &Stream) -> u32 {
    let hung_up = if stream.kind == Kind::Pty { stream.errors(error::EIO) } else { 0 };
    stream.errors(error::EPIPE).saturating_add(hung_up)
}

fn describe(case: &Case<'_>, subject: &Subject<'_>, stream: &Stream) -> Finding {
    let peer = case.session.peer(&stream.object);
    let is_one_ended = case.is_one_ended(&stream.object);
    // The refusal proves that no read end is open, whatever was seen of the others.
    let last = || case.session.closes(&peer).last().filter(|_| !is_one_ended);
    let closer = case.closer(&peer).or_else(last);
    let readers = case.flows.get(&stream.object).readers_in_words();
    let why = match (closer, readers) {
        (Some(closer), _) => words::closed_by(case, closer, subject, stream),
        (None, None) if is_one_ended => {
            let name = words::object(case, &stream.object);
            format!("the other end of {name} was closed, and tracer did not see by whom")
        }
        (None, Some(reader)) => format!("its reader {reader} had closed it"),
        (None, None) => "its read end was closed, and no process was seen to hold it".to_owned(),
    };
    let refusals = refusals(stream);
    let refused = match stream.row.failed {
        0 => units::count(u64::from(refusals), "write"),
        bytes => units::exact(bytes),
    };
    let name = if stream.kind == Kind::Pty { "EIO" } else { "EPIPE" };
    // What was written before is lost as well, as far as it was not read.
    let unread = match case.flows.get(&stream.object).unread {
        Some(unread) if unread > 0 => {
            format!(", of which {} were never read", units::exact(unread))
        }
        _ => String::new(),
    };
    let message = format!(
        "{} could not write to {}: {why} ({name}, {refused} refused) after {} had been written{}{unread}.{}",
        words::who(subject),
        stream.name(),
        units::exact(subject.bytes_to(stream)),
        words::since_attached(subject),
        words::ending(subject)
    );
    let by_design = closer.is_some_and(|closer| case.is_beside(subject, closer.process));
    let severity = if by_design { Severity::Info } else { Severity::Loss };
    let finding = evidence::finding(case, subject, Rule::ReaderGone, severity, message);
    let mut finding = evidence::with_stream(finding, case, stream);
    // The refused write and the close were seen, not computed.
    if closer.is_some() {
        finding = evidence::seen(case, stream, finding);
    }
    finding.advice = Some(if by_design {
        words::HAD_ENOUGH.into()
    } else {
        "The reader must read to the end before it closes the pipe.".into()
    });
    let finding = evidence::with_closer(finding, case, closer);
    evidence::with(finding, "refusals", json!(refusals))
}
