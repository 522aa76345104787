//! All bytes arrived at the other end of the pipe, file or terminal.

use serde_json::json;

use super::super::{Case, Stream, Subject, evidence, words};
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
    if subject.stdout.row.bytes == 0 && subject.stdout.object != subject.stderr.object {
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
    let message = format!(
        "{} wrote {}{silent}{}.{}",
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
        finding.advice = Some(format!(
            "If the output is missing, the loss is above the kernel: {reader} has it."
        ));
    }
    vec![evidence::with(finding, "readers", json!(readers))]
}

/// Whether a stream carried bytes; `discarded` reports `/dev/null`.
fn carries(stream: &Stream) -> bool {
    stream.row.bytes > 0 && stream.kind != Kind::Null
}

/// Whether the bytes of a stream arrived.
fn is_delivered(case: &Case<'_>, stream: &Stream) -> bool {
    let flow = case.flows.get(&stream.object);
    match stream.kind {
        Kind::Pipe | Kind::Fifo => flow.unread == Some(0) && flow.balanced != Some(false),
        // `out_of_sight` reports a socket whose other end is not on this machine.
        Kind::Socket => {
            case.session.is_joined(&stream.object)
                && flow.unread.map_or(flow.read >= flow.written, |unread| unread == 0)
        }
        Kind::File | Kind::Pty | Kind::Device => true,
        Kind::Null | Kind::Closed | Kind::Unknown => false,
    }
}
