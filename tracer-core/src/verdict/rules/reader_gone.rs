//! All read ends were closed: EPIPE, and usually death by SIGPIPE.

pub(super) mod of_relays;

use serde_json::json;
use tracer_common::ledger::error;

use super::super::{Case, Scope, Stream, Subject, evidence, words};
use crate::{
    session::{Close, Kind, Process},
    text::units,
    verdict::{Confidence, Finding, Rule, Severity, copies::CutCopy},
};

pub(super) fn find(case: &Case<'_>, subject: &Subject<'_>) -> Vec<Finding> {
    subject
        .streams()
        .into_iter()
        .filter(|stream| refusals(stream) > 0)
        .map(|stream| describe(case, &subject.of_refused(case.session, stream), stream))
        .collect()
}

/// Processes that wrote one copy for each of several readers, and that ended with the first reader.
pub(super) fn find_cut_copies(case: &Case<'_>) -> Vec<Finding> {
    let targets = case.session.processes.values().filter(|process| process.is_target);
    let cut = targets.filter_map(|process| Some((process, case.cut_copies().get(&process.id)?)));
    cut.map(|(process, cut)| describe_cut(case, process, cut)).collect()
}

fn describe_cut(case: &Case<'_>, process: &Process, cut: &CutCopy) -> Finding {
    let peer = case.session.peer(&cut.left);
    let closer = case.closer(&peer);
    let reader =
        closer.map_or("a reader".to_owned(), |closer| words::closer_name(case, closer, &peer));
    let missing = match cut.missing {
        0 => "what came after them is gone".to_owned(),
        1 => "at least 1 B more is gone".to_owned(),
        bytes => format!("at least {} more are gone", units::exact(bytes)),
    };
    let message = format!(
        "{} wrote only {} into {}, and {missing}: SIGPIPE ended it when {reader}, which read another copy, left.",
        words::called(process),
        units::exact(cut.bytes),
        words::object(case, &cut.copy),
    );
    let mut finding = evidence::of_process(process, Rule::ReaderGone, Severity::Loss, message);
    finding.confidence =
        if process.attached_late { Confidence::Unsure } else { case.confidence_of_look() };
    finding.advice = Some(
        "Let it go on without that reader (`tee -p`), or let the reader read to the end \
         (`head -n1; cat >/dev/null`)."
            .into(),
    );
    let finding = evidence::with_closer(finding, case, closer);
    let facts = [
        ("object", json!(case.session.object_name(&cut.copy))),
        ("written", json!(cut.bytes)),
        ("missing", json!(cut.missing)),
    ];
    evidence::with_all(finding, facts)
}

/// Failed writes that had no reader: `EPIPE`, and `EIO` of a terminal whose other half was closed.
pub(in crate::verdict) fn refusals(stream: &Stream) -> u32 {
    let hung_up = if stream.kind == Kind::Pty { stream.errors(error::EIO) } else { 0 };
    stream.errors(error::EPIPE).saturating_add(hung_up)
}

/// Why writes were refused, if no close was seen before them.
fn why(case: &Case<'_>, stream: &Stream) -> String {
    let peer = case.session.peer(&stream.object);
    let reader = case.flows.get(&stream.object).readers_in_words();
    let name = || words::object(case, &stream.object);
    if case.is_one_ended(&stream.object) {
        return format!("the other end of {} was closed, and tracer did not see by whom", name());
    }
    match reader {
        _ if stream.kind == Kind::Socket && !case.session.closes(&peer).is_empty() => {
            format!("{} had been shut down before (shutdown(2))", name())
        }
        Some(reader) => format!("its reader {reader} had closed it"),
        None => "its read end was closed, and no process was seen to hold it".to_owned(),
    }
}

/// `36 B`, `108 B in 3 writes`: they may be the same bytes, written again.
fn refused_in_words(stream: &Stream) -> String {
    let refusals = refusals(stream);
    let writes = units::count(u64::from(refusals), "write");
    match stream.row.failed {
        0 => writes,
        bytes if refusals == 1 => units::exact(bytes),
        bytes => format!("{} in {writes}", units::exact(bytes)),
    }
}

/// What was written before is lost as well, as far as it was not read.
fn unread_in_words(case: &Case<'_>, subject: &Subject<'_>, stream: &Stream) -> String {
    match case.flows.get(&stream.object).unread {
        None | Some(0) => String::new(),
        Some(unread) if unread > subject.bytes_to(stream) => {
            format!("; {} in it were never read", units::exact(unread))
        }
        Some(unread) => format!(", of which {} were never read", units::exact(unread)),
    }
}

/// Whether the object is neither stdout nor stderr of a writer, and its reader took what it wanted, as one does that waits
/// for a byte that says that a service is ready.
fn is_aside(case: &Case<'_>, subject: &Subject<'_>, stream: &Stream, closer: &Close) -> bool {
    let known = case.session.processes.get(&closer.process);
    let has_failed = closer.by_exit && known.is_none_or(Process::has_failed);
    let peer = case.session.peer(&stream.object);
    subject.scope == Scope::Redirected
        && !has_failed
        && case.last_read(closer.process, &peer).is_some()
        && !case.is_stream_of_writer(&stream.object)
}

fn describe(case: &Case<'_>, subject: &Subject<'_>, stream: &Stream) -> Finding {
    let peer = case.session.peer(&stream.object);
    // The refusal proves that no read end was open, whatever was seen of the others.
    let closer = case.closer_at(&peer, stream.row.last_ns);
    let why = match closer {
        Some(closer) => words::closed_by(case, closer, subject, stream),
        None => why(case, stream),
    };
    let refusals = refusals(stream);
    let refused = refused_in_words(stream);
    let name = if stream.kind == Kind::Pty { "EIO" } else { "EPIPE" };
    let unread = unread_in_words(case, subject, stream);
    let message = format!(
        "{} could not write to {}: {why} ({name}, {refused} refused) after {} had been written{}{unread}.{}",
        words::who(subject),
        words::stream_or_object(case, subject, stream),
        units::exact(subject.bytes_to(stream)),
        words::since_attached(subject),
        words::ending(subject)
    );
    let by_design = closer.is_some_and(|closer| {
        case.is_beside(subject, closer.process) || is_aside(case, subject, stream, closer)
    });
    let severity = if by_design { Severity::Info } else { Severity::Loss };
    let finding = evidence::finding(case, subject, Rule::ReaderGone, severity, message);
    let mut finding = evidence::with_stream(finding, case, stream);
    // The refused write and the close were seen, not computed.
    if closer.is_some() {
        finding = evidence::seen(case, stream, finding);
    }
    finding.advice = Some(if by_design {
        words::HAD_ENOUGH.into()
    } else if closer.is_some_and(|closer| words::never_read(case, closer, subject, &peer).is_some())
    {
        words::LOOK_AT_READER.into()
    } else {
        "The reader must read to the end before it closes the pipe.".into()
    });
    let finding = evidence::with_closer(finding, case, closer);
    evidence::with(finding, "refusals", json!(refusals))
}
