//! All bytes arrived at the other end of the pipe, file or terminal.

use serde_json::json;
use tracer_common::{id::ProcessId, ledger::WRITE, object::ObjectId};

use super::{
    super::{Case, Stream, Subject, evidence, words},
    file_lost,
};
use crate::{
    session::{Kind, Process, chains},
    text::units,
    verdict::{Finding, Rule, Severity},
};

pub(super) fn find(case: &Case<'_>, subject: &Subject<'_>) -> Vec<Finding> {
    let used: Vec<&Stream> =
        subject.streams().into_iter().filter(|stream| carries(stream)).collect();
    if used.is_empty() || !used.iter().all(|stream| is_delivered(case, stream)) {
        return Vec::new();
    }
    // For stderr alone, `other_stream` reports the same facts.
    if subject.wrote_only_to_stderr() {
        return Vec::new();
    }
    let parts: Vec<String> = used
        .iter()
        .map(|stream| {
            format!(
                "{} to {}, {}",
                units::exact(stream.row.bytes),
                stream.name(),
                words::fate(case, stream)
            )
        })
        .collect();
    let silent = if used.len() == 1
        && subject.stderr.row.bytes == 0
        && subject.stdout.object != subject.stderr.object
    {
        "; nothing to stderr"
    } else {
        ""
    };
    let passed_on = passed_on(case, subject, &used).or_else(|| relayed(case, subject, &used));
    let passed_on = passed_on.or_else(|| holds(case, &used));
    let passed_on = passed_on.unwrap_or_default();
    let message = format!(
        "{} wrote {}{silent}{}{passed_on}{}.{}",
        words::who(subject),
        parts.join(", and "),
        words::reach(case, subject),
        pointed_away(case, subject),
        words::ending(subject)
    );
    let mut finding = evidence::finding(case, subject, Rule::Delivered, Severity::Info, message);
    let readers: Vec<String> = used
        .iter()
        .filter(|stream| stream.kind.passes_on() && !case.is_shown_by_tracer(&stream.object))
        .filter_map(|stream| case.flows.get(&stream.object).readers_in_words())
        .collect();
    if let Some(reader) = readers.first() {
        finding.advice =
            Some(format!("{reader} received every byte: if output is missing, look in it."));
    }
    vec![evidence::with(finding, "readers", json!(readers))]
}

/// Where a command has pointed its own stdout or stderr for good, and how much went there: `; its stdout then was /dev/null,
/// to which 9 B went`.
fn pointed_away(case: &Case<'_>, subject: &Subject<'_>) -> String {
    let Some(at_end) = subject.process.stdio_at_end else { return String::new() };
    let is_own = |object| subject.streams().iter().any(|stream| stream.object == object);
    let parts = subject.streams().into_iter().filter_map(|stream| {
        let object = at_end.get(usize::try_from(stream.fd).ok()?)?.object;
        let members = subject.members.iter();
        let rows = members.flat_map(|member| case.session.rows_on(*member, object, WRITE));
        let bytes: u64 =
            rows.filter(|(key, _)| key.fd == stream.fd).map(|(_, row)| row.bytes).sum();
        let is_away = bytes > 0 && !object.is_none() && !is_own(object);
        is_away.then(|| {
            let (name, place) = (stream.name(), words::object(case, &object));
            format!("; its {name} then was {place}, to which {} went", units::exact(bytes))
        })
    });
    parts.collect()
}

/// What the only reader of all streams wrote anywhere, if that is less than it read: `; python3 (pid 7) wrote 17 B in all,
/// 30 B less`.
fn passed_on(case: &Case<'_>, subject: &Subject<'_>, used: &[&Stream]) -> Option<String> {
    let is_passed = used.iter().all(|stream| stream.kind.passes_on());
    let reader = only_reader(case, used).filter(|_| is_passed)?;
    let objects: Vec<_> = used.iter().map(|stream| case.session.peer(&stream.object)).collect();
    case.passed_on(reader, &objects, subject.bytes())
}

/// The only process that read from the streams.
fn only_reader(case: &Case<'_>, used: &[&Stream]) -> Option<ProcessId> {
    let readers = used.iter().flat_map(|stream| &case.flows.get(&stream.object).readers);
    let mut readers = readers.filter(|reader| reader.bytes > 0).map(|reader| reader.process);
    let reader = readers.next()?;
    readers.all(|other| other == reader).then_some(reader)
}

/// That the only reader, which has it as its stdin, still runs and has written nothing to its own stdout, as a filter does
/// that fills its buffer first:
/// `; grep (pid 7) has written nothing to its stdout so far`.
fn holds(case: &Case<'_>, used: &[&Stream]) -> Option<String> {
    let reader = case.session.processes.get(&only_reader(case, used)?)?;
    let stdout = reader.stdio_object(1).filter(|object| !object.is_none())?;
    let mut rows = case.session.rows_on(reader.id, stdout, WRITE);
    let stdin = reader.stdio_object(0)?;
    let is_filter = used.iter().any(|stream| case.session.peer(&stream.object) == stdin);
    let is_silent = is_filter
        && reader.is_target
        && reader.end_ns.is_none()
        && rows.all(|(_, row)| row.bytes == 0);
    let since = if reader.attached_late { "since tracer attached" } else { "so far" };
    is_silent.then(|| format!("; {} has written nothing to its stdout {since}", reader.short()))
}

/// The files into which a reader wrote what it had read: `; supervisord (pid 7) wrote it into the file app.log, which is
/// app.log.1 now`.
fn relayed(case: &Case<'_>, subject: &Subject<'_>, used: &[&Stream]) -> Option<String> {
    let all = used.iter().map(|stream| case.flows.get(&stream.object).read).sum();
    let found = used.iter().map(|stream| file_of_relay(case, subject, stream, all));
    let found: Vec<_> = found.collect();
    let parts: Vec<String> = match found.as_slice() {
        [Some(one), Some(other)] if one == other => vec![wrote(case, *one, "both")],
        [Some(one)] => vec![wrote(case, *one, "it")],
        found => {
            let told = used.iter().zip(found).filter_map(|(stream, file)| {
                Some(wrote(case, (*file)?, &words::stream(case, subject, stream)))
            });
            told.collect()
        }
    };
    (!parts.is_empty()).then(|| parts.concat())
}

fn wrote(case: &Case<'_>, (relay, file): (ProcessId, ObjectId), what: &str) -> String {
    let who = case.session.processes.get(&relay).map_or_else(String::new, Process::short);
    format!("; {who} wrote {what} {}", words::file(case, &file))
}

/// The only reader of a stream, and the file into which it wrote exactly as many bytes as it had read from the stream, or
/// from all of them.
fn file_of_relay(
    case: &Case<'_>,
    subject: &Subject<'_>,
    stream: &Stream,
    all: u64,
) -> Option<(ProcessId, ObjectId)> {
    let (writer, object) = (subject.process.id, stream.object);
    if !stream.kind.passes_on() {
        return None;
    }
    let chains = chains(case.session, &case.flows, writer, object, stream.row.bytes);
    let mut readers = chains.iter().filter_map(|chain| chain.get(1));
    let relay = readers.next()?.process;
    let is_only = readers.all(|step| step.process == relay);
    let mut files = chains.iter().filter_map(|chain| match chain.as_slice() {
        [_, step] => step.object.filter(|file| {
            let is_exact = step.read == Some(step.written) || step.written == all;
            let is_file = case.session.object_kind(file) == Kind::File;
            is_file && is_exact && !file_lost::is_removed(case, file)
        }),
        _ => None,
    });
    let file = files.next().filter(|_| is_only && files.next().is_none())?;
    Some((relay, file))
}

/// Whether a stream carried bytes; `discarded` reports `/dev/null`.
fn carries(stream: &Stream) -> bool {
    stream.row.bytes > 0 && stream.kind != Kind::Null
}

/// Whether the bytes of a stream arrived.
pub(in crate::verdict) fn is_delivered(case: &Case<'_>, stream: &Stream) -> bool {
    let flow = case.flows.get(&stream.object);
    match stream.kind {
        Kind::Pipe | Kind::Fifo => flow.unread == Some(0) && flow.balanced != Some(false),
        // `out_of_sight` reports a socket whose other end is not on this machine.
        Kind::Socket => {
            case.session.is_joined(&stream.object)
                && flow.unread.map_or(flow.read >= flow.written, |unread| unread == 0)
        }
        Kind::File => file_lost::loss(case, stream).is_none(),
        // Without a look into the terminal, it is not known.
        Kind::Pty => flow.unread.is_none_or(|unread| unread == 0),
        Kind::Device => true,
        Kind::Null | Kind::HandedIn | Kind::Closed | Kind::Unknown => false,
    }
}
