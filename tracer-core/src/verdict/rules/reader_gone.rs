//! All read ends were closed: EPIPE, and usually death by SIGPIPE.

use serde_json::json;
use tracer_common::ledger::error;

use super::super::{Case, Stream, Subject, evidence, words};
use crate::{
    text::units,
    verdict::{Finding, Rule, Severity},
};

pub(super) fn find(case: &Case<'_>, subject: &Subject<'_>) -> Vec<Finding> {
    subject
        .streams()
        .into_iter()
        .filter(|stream| stream.errors(error::EPIPE) > 0)
        .map(|stream| describe(case, subject, stream))
        .collect()
}

fn describe(case: &Case<'_>, subject: &Subject<'_>, stream: &Stream) -> Finding {
    let peer = case.session.peer(&stream.object);
    let closer = case.closer(&peer);
    let readers = case.flows.get(&stream.object).readers_in_words();
    let why = match (closer, readers) {
        (Some(closer), _) => words::closed_by(closer, subject),
        (None, Some(reader)) => format!("its reader {reader} had closed it"),
        (None, None) => "its read end was closed, and no process was seen to hold it".to_owned(),
    };
    let refusals = stream.errors(error::EPIPE);
    let message = format!(
        "{} could not write to {}: {why} (EPIPE, {} refused) after {} had been written{}.{}",
        words::who(subject),
        stream.name(),
        units::count(u64::from(refusals), "write"),
        units::exact(stream.row.bytes),
        words::since_attached(subject),
        words::ending(subject)
    );
    let by_design = closer.is_some_and(|closer| case.is_beside(subject, closer.process));
    let severity = if by_design { Severity::Info } else { Severity::Loss };
    let finding = evidence::finding(case, subject, Rule::ReaderGone, severity, message);
    let mut finding = evidence::with_stream(finding, case, stream);
    // The refused write and the close were seen, not computed.
    if closer.is_some() && case.flows.get(&stream.object).doubts.is_empty() {
        finding.confidence = case.confidence_of_look();
    }
    finding.advice = Some(if by_design {
        words::HAD_ENOUGH.into()
    } else {
        "The reader must read to the end before it closes the pipe.".into()
    });
    let finding = evidence::with_closer(finding, case, closer);
    evidence::with(finding, "refusals", json!(refusals))
}
