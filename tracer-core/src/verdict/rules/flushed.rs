//! A process discarded what was in a terminal (`tcflush(3)`, `TCSAFLUSH`), and fewer bytes were read there than written.
//! A terminal adds bytes to what is written, so their number is a lower bound.

use serde_json::json;
use tracer_common::{
    ledger::{READ, WRITE},
    loss::Reason,
    object::ObjectId,
};

use super::super::{Case, Stream, Subject, evidence, words};
use crate::{
    session::Kind,
    text::units,
    verdict::{Finding, Rule, Severity},
};

pub(super) fn find(case: &Case<'_>, subject: &Subject<'_>) -> Vec<Finding> {
    let terminals = subject.distinct_streams().into_iter().filter(|it| it.kind == Kind::Pty);
    terminals.filter_map(|stream| of_terminal(case, subject, stream)).collect()
}

fn of_terminal(case: &Case<'_>, subject: &Subject<'_>, stream: &Stream) -> Option<Finding> {
    let flow = case.flows.get(&stream.object);
    // Before its end, a look shows how much is still to be read.
    if subject.process.end_ns.is_none() && flow.inside.is_none() {
        return None;
    }
    let inside = flow.inside.or(flow.unread).unwrap_or(0);
    let gone = flow.written.checked_sub(flow.read.checked_add(inside)?).filter(|gone| *gone > 0)?;
    let own = subject.bytes_to(stream);
    let flusher = flusher(case, stream).filter(|_| own > 0)?;
    let others = if flow.written > own { " together with others" } else { "" };
    let message = format!(
        "{} wrote {}{others}{} to {}; at least {} of what was written are gone: {flusher} discarded what was in {}, and \
         only {} were read.{}",
        words::writer(subject, stream),
        units::exact(own),
        words::since_attached(subject),
        words::stream(case, subject, stream),
        units::exact(gone),
        words::object(case, &stream.object),
        units::exact(flow.read),
        words::ending(subject)
    );
    let finding = evidence::finding(case, subject, Rule::Unread, Severity::Loss, message);
    let mut finding = evidence::with_stream(finding, case, stream);
    // The sums do not depend on how much was discarded at once.
    let is_only = flow.doubts.iter().all(|doubt| *doubt == Reason::TtyFlushed);
    if is_only && !subject.process.attached_late {
        finding.confidence = case.confidence_of_look();
    }
    finding.advice = Some(
        "Let it read before it sets the terminal (`TCSANOW` discards nothing), or send the output to a file."
            .into(),
    );
    Some(evidence::with(finding, "discarded", json!(gone)))
}

/// The process that discarded what was written to a terminal: at its other end, or at this one.
fn flusher(case: &Case<'_>, stream: &Stream) -> Option<String> {
    let flow = case.flows.get(&stream.object);
    let peer = case.session.peer(&stream.object);
    let readers = flow.readers.iter().map(|end| (end, peer, READ));
    let mut ends = readers.chain(flow.writers.iter().map(|end| (end, stream.object, WRITE)));
    let has_flushed = |process, object: ObjectId, direction| {
        let mut rows = case.session.rows_on(process, object, direction);
        rows.any(|(_, row)| row.doubts & Reason::TtyFlushed.bit() != 0)
    };
    let (end, _, _) = ends.find(|(end, object, way)| has_flushed(end.process, *object, *way))?;
    case.session.processes.get(&end.process).map(|known| known.short())
}
