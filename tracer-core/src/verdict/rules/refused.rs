//! The kernel refused bytes and the program did not write them again, or it could not write at all.

use serde_json::json;
use tracer_common::ledger::error;

use super::super::{Case, Stream, Subject, evidence, words};
use crate::{
    session::{Kind, Process},
    text::{errno, units},
    verdict::{Confidence, Finding, Rule, Severity},
};

/// `O_NONBLOCK` (`include/uapi/asm-generic/fcntl.h`).
const O_NONBLOCK: u32 = 0o4000;

/// Errors that lose output, with their meaning and advice.
const CLASSES: [(u32, &str, &str); 8] = [
    (
        error::EAGAIN,
        "the pipe was full and non-blocking",
        "Find out who set O_NONBLOCK on the shared file description, or let the reader read faster.",
    ),
    (
        error::EBADF,
        "the fd was closed or not open for writing",
        "Start it with an open stdout and stderr.",
    ),
    (error::ENOSPC, "the disk is full", "Free space where the output goes."),
    (error::EIO, "the terminal or disk behind it is gone", "Check what the fd points to."),
    (
        error::EFBIG,
        "the file may not become larger",
        "Raise the limit (`ulimit -f`), or let the file system hold larger files.",
    ),
    (error::EDQUOT, "the disk quota is used up", "Free space, or raise the user's quota."),
    (
        error::OTHER,
        "one that tracer counts but does not name",
        "Look at what the fd points to: a reset connection, a device that failed.",
    ),
    (
        error::NOT_RUN,
        "seccomp trapped them, or a seccomp supervisor or a tracer answered them",
        "Look at its seccomp profile, and at who supervises or traces it: they decide what becomes of these bytes.",
    ),
];

pub(super) fn find(case: &Case<'_>, subject: &Subject<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for stream in subject.streams() {
        for (class, why, advice) in CLASSES {
            if is_lost(stream, class, subject.process.end_ns.is_some()) {
                findings.push(refusal(case, subject, stream, (class, why, advice)));
            }
        }
        findings.extend(put_off(case, subject, stream));
    }
    findings
}

/// Writes through fds that the user did not ask about, into files: `tee log` on a full disk.
pub(super) fn find_elsewhere(case: &Case<'_>) -> Vec<Finding> {
    let targets = case.session.processes.values().filter(|process| process.is_target);
    let refused = targets.filter_map(|process| {
        let (count, errno) = process.other_refusals?;
        let name = errno::name(errno);
        let message = format!(
            "The kernel refused {} of {} into another file with {name}: {}.{}",
            units::count(u64::from(count), "write"),
            words::called(process),
            errno::meaning(errno),
            words::end_of(process)
        );
        let mut finding = evidence::of_process(process, Rule::Refused, Severity::Loss, message);
        finding.confidence = Confidence::Certain;
        finding.advice =
            Some("Run again with --all-fds to see which file, and how many bytes.".into());
        let finding = evidence::with(finding, "error", json!(name));
        Some(evidence::with(finding, "refusals", json!(count)))
    });
    refused.collect()
}

/// Whether refused writes lost bytes of a stream. `has_ended`: whether the process has ended.
pub(in crate::verdict) fn loses(stream: &Stream, has_ended: bool) -> bool {
    CLASSES.iter().any(|(class, ..)| is_lost(stream, *class, has_ended))
}

/// Whether errors of a class lost bytes. `EAGAIN` loses bytes only if no later call succeeded and the process has
/// ended.
fn is_lost(stream: &Stream, class: u32, has_ended: bool) -> bool {
    let gave_up = stream.row.last_refused > 0 && has_ended;
    // `reader_gone` reports a terminal that hung up.
    let is_hang_up = class == error::EIO && stream.kind == Kind::Pty;
    stream.errors(class) > 0 && (class != error::EAGAIN || gave_up) && !is_hang_up
}

/// Bytes were refused for the moment, and later writes succeeded or still may. Counts do not show whether the same
/// bytes were written again.
fn put_off(case: &Case<'_>, subject: &Subject<'_>, stream: &Stream) -> Option<Finding> {
    let refusals = stream.errors(error::EAGAIN);
    let waits = stream.row.last_refused > 0;
    let has_ended = subject.process.end_ns.is_some();
    if is_lost(stream, error::EAGAIN, has_ended) || (refusals == 0 && stream.row.short == 0) {
        return None;
    }
    let again = if waits {
        "it still runs, and has not written since"
    } else {
        "it went on writing, but whether it wrote those bytes again cannot be told"
    };
    let message = format!("{} had {}; {again}.", words::writer(subject, stream), obstacles(stream));
    // After a short write, all common libraries write the rest.
    // A program that made its output non-blocking itself is prepared for refusals.
    let is_prepared =
        case.set_nonblock(&stream.object).is_some_and(|by| subject.members.contains(&by.id));
    let severity = if refusals == 0 || is_prepared { Severity::Info } else { Severity::Warning };
    let finding = evidence::finding(case, subject, Rule::PutOff, severity, message);
    let mut finding = evidence::with_stream(finding, case, stream);
    finding.confidence = Confidence::Unsure;
    finding.advice = Some(
        "Compare with what it should have written; a logger that drops on a full pipe looks like this."
            .into(),
    );
    let finding = evidence::with(finding, "refusals", json!(refusals));
    let finding = evidence::with(finding, "short", json!(stream.row.short));
    Some(evidence::with(finding, "refused_bytes", json!(stream.row.refused)))
}

/// `3 writes to stdout refused with EAGAIN (80 B in all) and 1 write cut short`
fn obstacles(stream: &Stream) -> String {
    let refusals = u64::from(stream.errors(error::EAGAIN));
    let short = units::count(u64::from(stream.row.short), "write");
    let refused = format!(
        "{} to {} refused with EAGAIN ({} in all)",
        units::count(refusals, "write"),
        stream.name(),
        units::exact(stream.row.refused)
    );
    match (refusals, stream.row.short) {
        (0, _) => format!("{short} to {} cut short", stream.name()),
        (_, 0) => refused,
        _ => format!("{refused} and {short} cut short"),
    }
}

fn refusal(
    case: &Case<'_>,
    subject: &Subject<'_>,
    stream: &Stream,
    (class, why, advice): (u32, &str, &str),
) -> Finding {
    let name = error::NAMES[class as usize];
    let count = stream.errors(class);
    let refused = if class == error::EAGAIN {
        let last = units::exact(stream.row.last_refused);
        match count {
            1 => format!("the last {last}"),
            // Each refused message is one by itself.
            _ if is_of_messages(case, stream) => amount(stream.row.refused, count),
            _ => format!(
                "{} ({} in all, the last {last} not written again)",
                units::count(u64::from(count), "write"),
                units::exact(stream.row.refused)
            ),
        }
    } else {
        amount(failed(stream, count), count)
    };
    let why = reason(stream, (class, why));
    let with = if class == error::OTHER { "another error" } else { name };
    let nonblock = (class == error::EAGAIN).then(|| nonblock(case, subject, stream)).flatten();
    let by = nonblock.as_ref().map_or(String::new(), |nonblock| format!(" {}", nonblock.sentence));
    let is_standard = (0..3).contains(&stream.fd);
    let stream_name = match is_standard {
        true => words::stream_or_object(case, subject, stream),
        false => words::object(case, &stream.object),
    };
    let refused_one = subject.of_refused(case.session, stream);
    let (who, ending) = (words::who(&refused_one), words::ending(&refused_one));
    let message = if class == error::NOT_RUN {
        format!("The kernel never ran {refused} of {who} to {stream_name}: {why}.{ending}")
    } else {
        format!(
            "The kernel refused {refused} to {stream_name} of {who} with {with}: {why}.{by}{ending}"
        )
    };
    let finding = evidence::finding(case, &refused_one, Rule::Refused, Severity::Loss, message);
    let finding = evidence::with_stream(finding, case, stream);
    let mut finding = evidence::seen(case, stream, finding);
    finding.advice = Some(advice.into());
    let by = nonblock.as_ref().and_then(|nonblock| nonblock.by);
    let finding = evidence::with(finding, "nonblock_pid", json!(by.map(|by| by.id.tgid)));
    let finding = evidence::with(finding, "nonblock_comm", json!(by.map(|by| &by.comm)));
    let finding = evidence::with(finding, "error", json!(name));
    let finding = evidence::with(finding, "refusals", json!(count));
    evidence::with(finding, "refused_bytes", json!(stream.row.last_refused))
}

/// What an error means for the kind of object that refused the bytes.
fn reason<'a>(stream: &Stream, (class, why): (u32, &'a str)) -> &'a str {
    match (class, stream.kind) {
        (error::EAGAIN, Kind::Socket) => "the socket was full and non-blocking",
        (error::EAGAIN, Kind::Pty) => "the terminal took no more, and is non-blocking",
        (error::OTHER, Kind::Socket) => {
            "one that tracer counts but does not name; of a socket it usually means that its other end is gone \
             (ECONNREFUSED, ECONNRESET)"
        }
        _ => why,
    }
}

/// Whether each write to an object is a message.
fn is_of_messages(case: &Case<'_>, stream: &Stream) -> bool {
    let known = case.session.objects.get(&stream.object);
    known.is_some_and(|known| known.kind == Kind::Socket && !known.is_byte_stream())
}

/// `12 writes (480 B)`
fn amount(bytes: u64, count: u32) -> String {
    let writes = units::count(u64::from(count), "write");
    if bytes > 0 { format!("{writes} ({})", units::exact(bytes)) } else { writes }
}

/// The bytes of the failed writes of one class. They are known only if no other class failed; else 0.
fn failed(stream: &Stream, count: u32) -> u64 {
    let counted = |class: &usize| ![error::EAGAIN, error::EINTR].contains(&(*class as u32));
    let all: u32 = (0..error::COUNT).filter(counted).map(|class| stream.row.errors[class]).sum();
    if all == count { stream.row.failed } else { 0 }
}

/// The process that made the stream's open file non-blocking.
struct Nonblock<'a> {
    by: Option<&'a Process>,
    sentence: String,
}

fn nonblock<'a>(
    case: &'a Case<'_>,
    subject: &Subject<'_>,
    stream: &Stream,
) -> Option<Nonblock<'a>> {
    if let Some(by) = case.set_nonblock(&stream.object) {
        let sentence = if by.id == subject.process.id {
            "It had set O_NONBLOCK itself.".to_owned()
        } else {
            format!("{} had set O_NONBLOCK on it.", by.short())
        };
        return Some(Nonblock { by: Some(by), sentence });
    }
    let at = usize::try_from(stream.fd).ok()?;
    let state = subject.process.stdio.as_ref()?.get(at).filter(|it| it.object == stream.object)?;
    let parent = case.session.processes.get(&subject.process.parent);
    let starter = parent.map_or("the command was started".to_owned(), |parent| {
        format!("{} started the command", parent.short())
    });
    (state.flags & O_NONBLOCK != 0).then(|| Nonblock {
        by: parent,
        sentence: format!("O_NONBLOCK was set on it already when {starter}."),
    })
}
