//! The writer is blocked in a write: the pipe is full, and its reader does not read.

use serde_json::{Value, json};
use tracer_common::id::ProcessId;

use super::{
    super::{Case, Stream, Subject, evidence, words},
    leaves_machine::is_local,
};
use crate::{
    event::{BlockedCall, BlockedThread},
    session::{Kind, named},
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
    // Of a socket whose other end was not seen, only the writer shows whether it is read.
    if stream.kind == Kind::Socket && case.is_one_ended(&stream.object) && is_local(case, stream) {
        return !case.is_at_work(Some(stream.row.last_ns.max(case.session.start_ns)));
    }
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
    /// Whether a thread of it waits for something to read there.
    reads: bool,
    /// A thread of it that is blocked by something else.
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
        let is_one_ended = case.is_one_ended(&stream.object);
        let mut holders = case.session.holders(&peer).filter(|held| held.reads() && !is_one_ended);
        holders.next().map(|holding| (holding.process, None))
    };
    let (process, last_ns) = latest.or_else(holder)?;
    let waiting = || case.waiting.get(&process).into_iter().flatten().copied();
    let reads_it =
        |thread: &&BlockedThread| thread.object == Some(peer) && thread.call == BlockedCall::Read;
    let reads = waiting().any(|thread| reads_it(&thread));
    let waits_on = waiting().find(|thread| !reads && !reads_it(thread));
    let comm = case.session.processes.get(&process).map(|known| known.comm.clone());
    let of_holder = || {
        let mut holders = case.session.holders(&peer);
        holders.find(|held| held.process == process).map(|held| held.comm.clone())
    };
    let comm = comm.filter(|comm| !comm.is_empty()).or_else(of_holder).unwrap_or_default();
    Some(Reader { process, comm, last_ns, reads, waits_on })
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
    // An empty terminal that takes nothing is no fault of its reader.
    let is_paused = stream.kind == Kind::Pty && inside == Some(0);
    let cause = if is_paused {
        format!("because its output is stopped, as by the stop key (^S){}", innocent(reader))
    } else {
        format!("and {}", idle(case, subject, stream, reader))
    };
    let message = format!(
        "{} is stuck: {} is blocked writing to {}; {full}, {cause}.",
        words::who(subject),
        writer(case, subject, blocked_writer),
        words::stream(case, subject, stream),
    );
    let finding = evidence::finding(case, subject, Rule::Stuck, Severity::Warning, message);
    let mut finding = evidence::with_stream(finding, case, stream);
    // The thread that sleeps was seen, and the bytes inside, if a look was possible: nothing is computed.
    match inside {
        Some(0) if !reader.is_some_and(|reader| reader.reads) => {}
        Some(_) => finding.confidence = case.confidence_of_look(),
        None => finding = evidence::seen(case, stream, finding),
    }
    finding.pid = blocked_writer.process.tgid;
    finding.advice = Some(if is_paused {
        format!("Press ^Q in this terminal, or run `stty -F {object} -ixon`.")
    } else {
        advice(case, subject, reader)
    });
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
fn idle(
    case: &Case<'_>,
    subject: &Subject<'_>,
    stream: &Stream,
    reader: Option<&Reader<'_>>,
) -> String {
    let Some(reader) = reader else {
        return match stream.kind {
            Kind::Socket if is_local(case, stream) => {
                let began = case.session.start_ns.max(subject.process.id.start_ns);
                let since = stream.row.last_ns.max(began);
                format!(
                    "its other end, on this machine, reads nothing, or too slowly: no write has returned for {}",
                    units::span(case.session.end_ns, since)
                )
            }
            _ => "no process is known to read it".to_owned(),
        };
    };
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
    match reader.waits_on.and_then(|thread| words::waits(case, thread)) {
        Some(what) => format!("{last}: it {what}"),
        None => last,
    }
}

/// That the reader is ready: `; manager (pid 60) waits to read it`.
fn innocent(reader: Option<&Reader<'_>>) -> String {
    let ready = reader.filter(|reader| reader.reads);
    ready.map_or_else(String::new, |reader| {
        format!("; {} waits to read it", named(&reader.comm, reader.process))
    })
}

fn advice(case: &Case<'_>, subject: &Subject<'_>, reader: Option<&Reader<'_>>) -> String {
    let waits_on = reader.and_then(|reader| reader.waits_on);
    let peer = |stream: &&Stream| {
        waits_on.is_some_and(|thread| thread.object == Some(case.session.peer(&stream.object)))
    };
    match (reader, waits_on.map(|thread| thread.call)) {
        (Some(_), Some(BlockedCall::Read)) if subject.streams().iter().any(peer) => {
            "The reader must read stdout and stderr at the same time, not one after the other."
                .into()
        }
        (Some(reader), Some(BlockedCall::Write)) => format!(
            "Look at what reads the output of {}: it goes on when that does.",
            named(&reader.comm, reader.process)
        ),
        (Some(reader), _) => format!(
            "Look at what {} does: stopped, blocked, or no longer interested.",
            named(&reader.comm, reader.process)
        ),
        (None, _) => {
            "The process that holds the read end must read (`ss -xp` and `ss -tnp` name that of a socket).".into()
        }
    }
}

fn last_read(case: &Case<'_>, reader: Option<&Reader<'_>>) -> Value {
    json!(reader.and_then(|reader| reader.last_ns).map(|last| case.session.since_start_ms(last)))
}

fn waits_on(case: &Case<'_>, reader: Option<&Reader<'_>>) -> Value {
    let thread = reader.and_then(|reader| reader.waits_on);
    json!(thread.and_then(|thread| words::waited_for(case, thread)))
}
