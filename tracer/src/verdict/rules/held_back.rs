//! Nearly everything came at the very end of a long run: the program kept its output in a buffer.

use serde_json::json;
use tracer_common::{ledger::WRITE, object::ObjectId};

use super::super::{Case, Stream, Subject, evidence, words};
use crate::{
    report::{Finding, Severity},
    session::Kind,
};

/// A run shorter than this cannot be told from one that simply writes once.
const LONG_RUN_NS: u64 = 1_000_000_000;
/// The latest write must lie this close to the end.
const LAST_MOMENTS_NS: u64 = 200_000_000;
/// Percent of the bytes that must have come in the last moments.
const SHARE: u64 = 90;

pub(super) fn find(case: &Case<'_>, subject: &Subject<'_>) -> Vec<Finding> {
    let process = subject.process;
    let Some(end_ns) = process.end_ns else { return Vec::new() };
    let began = process.id.start_ns.max(case.session.start_ns);
    subject
        .streams()
        .into_iter()
        // Nobody waits for what is discarded, and to a terminal programs write line by line.
        .filter(|stream| !matches!(stream.kind, Kind::Null | Kind::Pty | Kind::Device))
        .filter(|stream| stream.row.bytes > 0 && end_ns.saturating_sub(began) >= LONG_RUN_NS)
        .filter_map(|stream| {
            let last = last_moments(case, subject, stream.object);
            let waited = stream.row.first_ns.saturating_sub(began);
            let at_the_end = end_ns.saturating_sub(stream.row.last_ns) < LAST_MOMENTS_NS;
            let late = at_the_end
                && last * 100 >= stream.row.bytes * SHARE
                && waited * 2 > end_ns - began
                && !began_late(case, subject, stream.object, waited);
            late.then(|| tell(case, subject, stream, last, waited))
        })
        .collect()
}

fn tell(
    case: &Case<'_>,
    subject: &Subject<'_>,
    stream: &Stream,
    last: u64,
    waited_ns: u64,
) -> Finding {
    let message = format!(
        "{} wrote {} of its {} to {} in the last moments before its end, {} after its start: a \
         buffer that is flushed at exit looks like this.",
        words::who(subject),
        if last >= stream.row.bytes { "all".to_owned() } else { words::bytes(last) },
        words::bytes(stream.row.bytes),
        stream.name(),
        words::span(waited_ns, 0)
    );
    let finding = evidence::finding(case, subject, "held_back", Severity::Info, message);
    let mut finding = evidence::with_stream(finding, case, stream);
    finding.advice = Some(
        "If it had something to say earlier, it keeps it in a buffer when its output is no \
         terminal: try `stdbuf -oL`, `python -u` or `tracer --pty -- COMMAND`."
            .into(),
    );
    let finding = evidence::with(finding, "last_moments_bytes", json!(last));
    let waited_ms = json!(waited_ns as f64 / 1e6);
    let finding = evidence::with(finding, "first_byte_after_ms", waited_ms);
    let block = stream.row.bytes.checked_div(stream.row.calls);
    evidence::with(finding, "bytes_per_write", json!(block))
}

/// Whether the writer itself was started only shortly before it wrote: then nothing was held back.
fn began_late(case: &Case<'_>, subject: &Subject<'_>, object: ObjectId, waited: u64) -> bool {
    subject
        .members
        .iter()
        .flat_map(|member| case.session.rows_of(*member, WRITE))
        .filter(|(key, row)| key.object == object && row.bytes > 0)
        .all(|(key, row)| row.first_ns.saturating_sub(key.process.start_ns) * 2 < waited)
}

fn last_moments(case: &Case<'_>, subject: &Subject<'_>, object: ObjectId) -> u64 {
    subject
        .members
        .iter()
        .flat_map(|member| case.session.rows_of(*member, WRITE))
        .filter(|(key, _)| key.object == object)
        .map(|(_, row)| row.window_bytes + row.previous_window_bytes)
        .sum()
}
