//! All bytes arrived at the other end of the pipe, file or terminal.

use serde_json::json;

use super::{
    super::{Case, Stream, Subject, evidence, words},
    file_lost,
};
use crate::{
    session::Kind,
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
    let passed_on = passed_on(case, subject, &used);
    let message = format!(
        "{} wrote {}{silent}{}{passed_on}.{}",
        words::who(subject),
        parts.join(", and "),
        words::reach(case, subject),
        words::ending(subject)
    );
    let mut finding = evidence::finding(case, subject, Rule::Delivered, Severity::Info, message);
    let readers: Vec<String> = used
        .iter()
        .filter(|stream| stream.kind.passes_on())
        .filter_map(|stream| case.flows.get(&stream.object).readers_in_words())
        .collect();
    if let Some(reader) = readers.first() {
        finding.advice =
            Some(format!("{reader} received every byte: if output is missing, look in it."));
    }
    vec![evidence::with(finding, "readers", json!(readers))]
}

/// What the only reader wrote anywhere, if that is less than it read: `; python3 (pid 7) wrote 17 B in all, 30 B less`.
fn passed_on(case: &Case<'_>, subject: &Subject<'_>, used: &[&Stream]) -> String {
    let mut readers = used.iter().flat_map(|stream| &case.flows.get(&stream.object).readers);
    let (Some(reader), None) = (readers.next(), readers.next()) else { return String::new() };
    let known = case.session.processes.get(&reader.process);
    let Some(known) = known.filter(|known| known.is_target && known.end_ns.is_some()) else {
        return String::new();
    };
    let written = case.session.written_anywhere(known).unwrap_or(0);
    if written >= subject.bytes() || written == 0 {
        return String::new();
    }
    format!(
        "; {} wrote {} in all, {} less",
        known.short(),
        units::exact(written),
        units::exact(subject.bytes() - written)
    )
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
