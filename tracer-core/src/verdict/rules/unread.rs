//! Bytes were left unread in the pipe.

use std::collections::BTreeSet;

use serde_json::json;
use tracer_common::{
    id::ProcessId,
    ledger::{LedgerRow, WINDOW_SHIFT},
    object::ObjectId,
};

use super::super::{Case, Scope, Stream, Subject, evidence, words};
use crate::{
    session::{Close, Flow, Holding, Kind, named},
    text::units,
    verdict::{Finding, Rule, Severity},
};

pub(super) fn find(case: &Case<'_>, subject: &Subject<'_>) -> Vec<Finding> {
    subject
        .distinct_streams()
        .into_iter()
        .filter_map(|stream| {
            let flow = case.flows.get(&stream.object);
            let unread = written_and_unread(stream, flow).filter(|unread| *unread > 0)?;
            let own = subject.bytes_to(stream) + flow.in_flight;
            // A process that reads its own FIFO, as a semaphore, leaves in it what it does not need.
            let is_own = subject.scope == Scope::Redirected
                && flow.readers.iter().any(|reader| subject.members.contains(&reader.process));
            if own == 0 || is_own {
                return None;
            }
            if is_of_others(case, subject, stream, unread) {
                return None;
            }
            match last_writer(case, stream, unread) {
                Some(last) if !subject.members.contains(&last.process.id) => {
                    let stream = &last.stdout;
                    let is_told = has_subject(case, last.process.id, &stream.object);
                    (!is_told).then(|| describe(case, &last, stream, stream.row.bytes, unread))
                }
                _ => Some(describe(case, subject, stream, own, unread)),
            }
        })
        .collect()
}

/// The bytes of what was written that are unread, at least. A terminal adds bytes, one to each that is written at most
/// (`ONLCR`, termios(3)); how many it has added in all is known.
fn written_and_unread(stream: &Stream, flow: &Flow) -> Option<u64> {
    let unread = flow.unread?;
    let written = flow.written.saturating_add(flow.in_flight);
    if stream.kind != Kind::Pty || flow.before.unwrap_or(0) > 0 {
        return Some(unread);
    }
    let added = flow.read.saturating_add(unread).saturating_sub(written);
    Some(unread.saturating_sub(added).max(unread.div_ceil(2)))
}

/// Whether a process belongs to a subject that wrote to an object: its unread bytes are told there.
fn has_subject(case: &Case<'_>, process: ProcessId, object: &ObjectId) -> bool {
    case.subjects_of(object).any(|subject| {
        let wrote_there = |stream: &&Stream| stream.object == *object && stream.row.bytes > 0;
        subject.members.contains(&process) && subject.streams().iter().any(wrote_there)
    })
}

/// Whether all unread bytes are of other commands, which tell of them: what is read first was written first, and others
/// wrote at least as many after this one's last write.
fn is_of_others(case: &Case<'_>, subject: &Subject<'_>, stream: &Stream, unread: u64) -> bool {
    let is_own = |process| subject.members.contains(&process);
    let own = case.writes_to(&stream.object).filter(|(key, _)| is_own(key.process));
    let Some(last_ns) = own.map(|(_, row)| row.last_ns).max() else { return false };
    let later = case.writes_to(&stream.object).filter(|(key, _)| !is_own(key.process));
    let later = later.filter(|(_, row)| row.last_ns > last_ns);
    let later: Vec<_> =
        later.map(|(key, row)| (key.process, written_after(row, last_ns))).collect();
    stream.kind != Kind::Pty
        && case.flows.get(&stream.object).in_flight == 0
        && later.iter().map(|(_, bytes)| bytes).sum::<u64>() >= unread
        && later.iter().any(|(process, _)| has_subject(case, *process, &stream.object))
}

/// Bytes of a row that were written after a time, at least.
fn written_after(row: &LedgerRow, time_ns: u64) -> u64 {
    let begins_after = |window: u64| window << WINDOW_SHIFT > time_ns;
    match row.window {
        _ if row.first_ns > time_ns => row.bytes,
        window if window > 0 && begins_after(window - 1) => row.last_moments_bytes(),
        window if begins_after(window) => row.window_bytes(),
        _ => 0,
    }
}

/// The writer of all unread bytes, if it is one: what is read first was written first, so the bytes of the process that
/// began when all others had written are the last to be read.
fn last_writer<'a>(case: &Case<'a>, stream: &Stream, unread: u64) -> Option<Subject<'a>> {
    let (key, row) = case.writes_to(&stream.object).max_by_key(|(_, row)| row.last_ns)?;
    let mut others = case.writes_to(&stream.object).filter(|(other, _)| *other != key);
    let is_last = stream.kind != Kind::Pty
        && case.flows.get(&stream.object).in_flight == 0
        && row.bytes >= unread
        && others.all(|(_, other)| other.last_ns < row.first_ns);
    let process = case.session.processes.get(&key.process).filter(|_| is_last)?;
    let used = Stream { fd: key.fd, row: *row, ..stream.clone() };
    let nothing = Stream { fd: 2, ..Stream::default() };
    let alone = Subject::new(process, BTreeSet::from([process.id]), [used, nothing]);
    Some(Subject { scope: Scope::Redirected, ..alone })
}

fn describe(
    case: &Case<'_>,
    subject: &Subject<'_>,
    stream: &Stream,
    own: u64,
    unread: u64,
) -> Finding {
    let flow = case.flows.get(&stream.object);
    let peer = case.session.peer(&stream.object);
    let last_read = |holding: &&Holding| case.last_read(holding.process, &peer);
    let reader = case
        .session
        .holders(&peer)
        .filter(|holding| holding.reads() && !subject.members.contains(&holding.process))
        .max_by_key(last_read);
    let at_work = case.is_at_work(reader.as_ref().and_then(last_read));
    let closer = case.closer(&peer).filter(|_| reader.is_none());
    let others = if flow.written + flow.in_flight > own { " together with others" } else { "" };
    let before = flow.before.filter(|&before| before > 0 && unread > own);
    let held = before.map_or(String::new(), |before| {
        format!(", which held {} before that", units::exact(before))
    });
    let severity = if at_work { Severity::Info } else { severity(case, subject, reader, closer) };
    let what = match (reader, severity) {
        (Some(_), _) => "still unread",
        (None, Severity::Info) => "left unread",
        (None, _) => "lost, unread",
    };
    // Of what was written to a terminal, only a lower bound is known.
    let is_least = stream.kind == Kind::Pty && flow.inside != Some(unread);
    let least = if is_least { "at least " } else { "" };
    let message = format!(
        "{} wrote {}{others}{} to {}{held}; {least}{} {} {what} in {}{}: {}.{}",
        words::writer(subject, stream),
        units::exact(own),
        words::since_attached(subject),
        words::stream(case, subject, stream),
        units::exact(unread),
        if unread == 1 { "is" } else { "are" },
        words::object(case, &stream.object),
        aside(case, stream, unread),
        fate(case, (subject, stream), reader, closer, at_work),
        words::ending(subject)
    );
    let finding = evidence::finding(case, subject, Rule::Unread, severity, message);
    let mut finding = evidence::with_stream(finding, case, stream);
    let has_read =
        closer.is_none_or(|closer| words::never_read(case, closer, subject, &peer).is_none());
    let advice = if has_read { advice(stream, reader, severity) } else { words::LOOK_AT_READER };
    finding.advice = Some(advice.into());
    // The bytes were looked at, not computed.
    if flow.inside.is_some_and(|inside| inside >= unread) && flow.balanced != Some(false) {
        finding = evidence::seen(case, stream, finding);
    }
    let finding = evidence::with_closer(finding, case, closer);
    evidence::with(finding, "reader_alive", json!(reader.is_some()))
}

/// What has to be said of the number of unread bytes. Short reads discarded some: no process read them, but they are not in
/// the queue either. Or no look was possible, and the number is what was written and not read; of a terminal it is a lower
/// bound.
fn aside(case: &Case<'_>, stream: &Stream, unread: u64) -> String {
    let known = case.session.objects.get(&stream.object);
    let is_packets = known.is_some_and(|known| !known.is_byte_stream());
    match case.flows.get(&stream.object).inside {
        Some(inside) if is_packets && inside < unread => format!(
            " ({} of them discarded: a read that is shorter than a packet drops its rest)",
            units::exact(unread - inside)
        ),
        None if stream.kind != Kind::Pty => " (computed: tracer could not look inside)".to_owned(),
        _ => String::new(),
    }
}

fn fate(
    case: &Case<'_>,
    (subject, stream): (&Subject<'_>, &Stream),
    reader: Option<&Holding>,
    closer: Option<&Close>,
    at_work: bool,
) -> String {
    match (reader, closer) {
        (Some(reader), _) => {
            let does = if at_work {
                "was still reading when the trace ended"
            } else {
                "can still read it but has not"
            };
            format!("{} {does}", named(&reader.comm, reader.process))
        }
        (None, Some(closer)) => words::closed_by(case, closer, subject, stream),
        (None, None) => "no process holds its read end any more".to_owned(),
    }
}

/// A remaining reader is slow; a next command of the pipeline that had enough (`head`) is by design.
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

fn advice(stream: &Stream, reader: Option<&Holding>, severity: Severity) -> &'static str {
    match (reader, severity) {
        (Some(_), Severity::Info) => "Trace for longer, until the command ends.",
        (Some(_), _) => "The reader is slow, blocked or has stopped reading: look at what it does.",
        (None, Severity::Info) => words::HAD_ENOUGH,
        _ if stream.kind == Kind::Pty => {
            "The terminal must be read to the end before it is closed; or send the output to a file."
        }
        _ => "The reader must read to the end of the stream before it closes the pipe.",
    }
}
