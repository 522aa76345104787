//! The writer is blocked in a write: the pipe is full, and its reader does not read.

use serde_json::{Value, json};
use tracer_common::id::ProcessId;

use super::super::{Case, Stream, Subject, evidence, words};
use crate::{
    event::BlockedThread,
    session::named,
    text::units,
    verdict::{Finding, Rule, Severity},
};

pub(super) fn find(case: &Case<'_>, subject: &Subject<'_>) -> Vec<Finding> {
    subject
        .distinct_streams()
        .into_iter()
        .filter_map(|stream| {
            let blocked_writer = blocked_writer(case, subject, stream)?;
            let reader = reader(case, stream);
            let is_stuck = is_stuck_with(case, stream, reader.as_ref());
            is_stuck.then(|| describe(case, subject, stream, blocked_writer, reader.as_ref()))
        })
        .collect()
}

/// Whether a process that is blocked in a write to a stream waits for a reader that does not read.
pub(in crate::verdict) fn is_stuck(case: &Case<'_>, stream: &Stream) -> bool {
    is_stuck_with(case, stream, reader(case, stream).as_ref())
}

fn is_stuck_with(case: &Case<'_>, stream: &Stream, reader: Option<&Reader<'_>>) -> bool {
    // A blocked write to a file waits for a disk, not for a reader.
    (stream.kind.is_pipe() || case.session.is_joined(&stream.object))
        && !case.is_at_work(reader.and_then(|reader| reader.last_ns))
}

/// A member that is blocked in a write to the stream.
fn blocked_writer<'a>(
    case: &'a Case<'_>,
    subject: &Subject<'_>,
    stream: &Stream,
) -> Option<&'a BlockedThread> {
    let writers = case.blocked_writers.get(&stream.object)?;
    writers.iter().copied().find(|thread| subject.members.contains(&thread.process))
}

/// The process that should read.
struct Reader<'a> {
    process: ProcessId,
    comm: String,
    last_ns: Option<u64>,
    /// A thread of it that is blocked in a read of another watched object.
    waits_on: Option<&'a BlockedThread>,
}

/// The latest reader, else a process that holds a read end.
fn reader<'a>(case: &'a Case<'_>, stream: &Stream) -> Option<Reader<'a>> {
    let peer = case.session.peer(&stream.object);
    let readers = case.flows.get(&stream.object).readers.iter();
    let latest = readers
        .max_by_key(|endpoint| (endpoint.last_ns, endpoint.process))
        .map(|endpoint| (endpoint.process, (endpoint.bytes > 0).then_some(endpoint.last_ns)));
    let holder = || {
        let mut holders = case.session.holders(&peer).filter(|holding| holding.reads());
        holders.next().map(|holding| (holding.process, None))
    };
    let (process, last_ns) = latest.or_else(holder)?;
    let blocked = case.blocked_readers.get(&process).into_iter().flatten();
    let waits_on = blocked.copied().find(|thread| thread.object != Some(peer));
    let comm = case.session.processes.get(&process).map(|known| known.comm.clone());
    let of_holder = || {
        let mut holders = case.session.holders(&peer);
        holders.find(|held| held.process == process).map(|held| held.comm.clone())
    };
    let comm = comm.filter(|comm| !comm.is_empty()).or_else(of_holder).unwrap_or_default();
    Some(Reader { process, comm, last_ns, waits_on })
}

fn describe(
    case: &Case<'_>,
    subject: &Subject<'_>,
    stream: &Stream,
    blocked_writer: &BlockedThread,
    reader: Option<&Reader<'_>>,
) -> Finding {
    let object = words::object(case, &stream.object);
    let seen = case.session.queue_seen(&stream.object).map(|seen| seen.state);
    let inside = seen.map(|queue| queue.unread);
    let capacity = seen.map(|queue| queue.capacity()).filter(|&capacity| capacity > 0);
    let full = match (inside, capacity) {
        (Some(inside), Some(capacity)) => {
            format!("{object} holds {} of {}", units::exact(inside), units::exact(capacity))
        }
        (Some(inside), None) => {
            format!("{object} holds {} and takes no more", units::exact(inside))
        }
        _ => format!("{object} takes no more"),
    };
    let message = format!(
        "{} is stuck: {} is blocked writing to {}; {full}, and {}.",
        words::who(subject),
        writer(case, subject, blocked_writer),
        words::stream(case, subject, stream),
        idle(case, subject, reader)
    );
    let finding = evidence::finding(case, subject, Rule::Stuck, Severity::Warning, message);
    let mut finding = evidence::with_stream(finding, case, stream);
    // The thread that sleeps was seen, and the bytes inside, if a look was possible: nothing is computed.
    match inside {
        Some(0) => {}
        Some(_) => finding.confidence = case.confidence_of_look(),
        None => finding = evidence::seen(case, stream, finding),
    }
    finding.pid = blocked_writer.process.tgid;
    finding.advice = Some(advice(case, subject, reader));
    let facts = [
        ("inside", json!(inside)),
        ("capacity", json!(capacity)),
        ("asleep_in", json!("write")),
        ("reader_pid", json!(reader.map(|reader| reader.process.tgid))),
        ("reader_comm", json!(reader.map(|reader| &reader.comm))),
        ("reader_last_read_ms", last_read(case, reader)),
        ("reader_waits_on", waits_on(case, reader)),
    ];
    evidence::with_all(finding, facts)
}

fn writer(case: &Case<'_>, subject: &Subject<'_>, blocked_writer: &BlockedThread) -> String {
    match case.session.processes.get(&blocked_writer.process) {
        Some(process) if process.id == subject.process.id => "it".to_owned(),
        Some(process) => process.short(),
        None => format!("pid {}", blocked_writer.process.tgid),
    }
}

/// The state of the reader: `manager (pid 60) has read nothing for 4.2 s`.
fn idle(case: &Case<'_>, subject: &Subject<'_>, reader: Option<&Reader<'_>>) -> String {
    let Some(reader) = reader else { return "no process is known to read it".to_owned() };
    let who = named(&reader.comm, reader.process);
    let last = match reader.last_ns {
        Some(last) => {
            format!("{who} has read nothing for {}", units::span(case.session.end_ns, last))
        }
        None if subject.process.attached_late => {
            format!("{who}, which could read it, has read nothing since tracer attached")
        }
        None => format!("{who}, which could read it, has read nothing at all"),
    };
    match reader.waits_on.and_then(|thread| thread.object) {
        Some(object) => format!("{last}: it waits to read {}", words::object(case, &object)),
        None => last,
    }
}

fn advice(case: &Case<'_>, subject: &Subject<'_>, reader: Option<&Reader<'_>>) -> String {
    let waits_on = reader.and_then(|reader| reader.waits_on).and_then(|thread| thread.object);
    let peer = |stream: &&Stream| Some(case.session.peer(&stream.object)) == waits_on;
    match reader {
        Some(_) if subject.streams().iter().any(peer) => {
            "The reader must read stdout and stderr at the same time, not one after the other."
                .into()
        }
        Some(reader) => format!(
            "Look at what {} does: stopped, blocked, or no longer interested.",
            named(&reader.comm, reader.process)
        ),
        None => "The process that holds the read end must read.".into(),
    }
}

fn last_read(case: &Case<'_>, reader: Option<&Reader<'_>>) -> Value {
    json!(reader.and_then(|reader| reader.last_ns).map(|last| case.session.since_start_ms(last)))
}

fn waits_on(case: &Case<'_>, reader: Option<&Reader<'_>>) -> Value {
    let object = reader.and_then(|reader| reader.waits_on).and_then(|thread| thread.object);
    json!(object.map(|object| case.session.object_name(&object)))
}
