//! The program kept its output in a buffer: nearly all bytes came at the end of a long run, or in full blocks that
//! are far apart.

use serde_json::json;
use tracer_common::{ledger::WRITE, object::ObjectId};

use super::super::{Case, Stream, Subject, evidence, words};
use crate::{
    session::Kind,
    text::units,
    verdict::{Finding, Rule, Severity},
};

/// Minimal run time; a shorter run may simply write once.
const LONG_RUN_NS: u64 = 1_000_000_000;
/// Maximal time between the latest write and the end.
const LAST_MOMENTS_NS: u64 = 200_000_000;
/// Buffers of C and Python programs (`BUFSIZ`-like sizes: stdio on a pipe 4,096 or 8,192 B, and larger).
const BLOCKS: [u64; 5] = [4096, 8192, 16_384, 32_768, 65_536];
/// Minimal average time between blocks that makes a reader wait.
const FAR_APART_NS: u64 = 1_000_000_000;
/// Percentage of the bytes that must have come in the last moments.
const SHARE: u64 = 90;

pub(super) fn find(case: &Case<'_>, subject: &Subject<'_>) -> Vec<Finding> {
    let mut findings = at_the_end(case, subject);
    findings.extend(subject.streams().into_iter().filter_map(|stream| {
        let (block, gap_ns) = blocks(subject, stream)?;
        Some(describe_blocks(case, subject, stream, block, gap_ns))
    }));
    findings
}

/// The size of the blocks in which a stream was written, and the average time between two of them.
fn blocks(subject: &Subject<'_>, stream: &Stream) -> Option<(u64, u64)> {
    let row = &stream.row;
    let gap = row.last_ns.saturating_sub(row.first_ns).checked_div(row.calls.checked_sub(1)?)?;
    let is_full = |block: &u64| row.bytes.div_ceil(*block) == row.calls;
    let block = BLOCKS.into_iter().find(is_full)?;
    (gap >= FAR_APART_NS && subject.was_refused_a_terminal(stream.fd)).then_some((block, gap))
}

fn describe_blocks(
    case: &Case<'_>,
    subject: &Subject<'_>,
    stream: &Stream,
    block: u64,
    gap_ns: u64,
) -> Finding {
    let message = format!(
        "{} wrote to {} in full blocks of {}, one every {} on average: what it printed in between \
         waited in its buffer.",
        words::writer(subject, stream),
        stream.name(),
        units::exact(block),
        units::span(gap_ns, 0)
    );
    let finding = evidence::finding(case, subject, Rule::HeldBack, Severity::Info, message);
    let mut finding = evidence::with_stream(finding, case, stream);
    finding.advice = Some(UNBUFFER.into());
    let finding = evidence::with(finding, "block", json!(block));
    evidence::with(finding, "gap_ms", json!(gap_ns as f64 / 1e6))
}

/// Advice that makes most programs write line by line.
const UNBUFFER: &str = "If it had something to say earlier, it keeps it in a buffer when its output is no \
                        terminal: try `stdbuf -oL`, `python -u` or `tracer --pty -- COMMAND`.";

fn at_the_end(case: &Case<'_>, subject: &Subject<'_>) -> Vec<Finding> {
    let process = subject.process;
    let Some(end_ns) = process.end_ns else { return Vec::new() };
    let began = process.id.start_ns.max(case.session.start_ns);
    subject
        .streams()
        .into_iter()
        // Discarded output has no reader that waits, and programs write line by line to a terminal.
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
            late.then(|| describe(case, subject, stream, last, waited))
        })
        .collect()
}

fn describe(
    case: &Case<'_>,
    subject: &Subject<'_>,
    stream: &Stream,
    last: u64,
    waited_ns: u64,
) -> Finding {
    let message = format!(
        "{} wrote {} of its {} to {} in the last moments before its end, {} after its start: a \
         buffer that is flushed at exit looks like this.",
        words::writer(subject, stream),
        if last >= stream.row.bytes { "all".to_owned() } else { units::exact(last) },
        units::exact(stream.row.bytes),
        stream.name(),
        units::span(waited_ns, 0)
    );
    let finding = evidence::finding(case, subject, Rule::HeldBack, Severity::Info, message);
    let mut finding = evidence::with_stream(finding, case, stream);
    finding.advice = Some(UNBUFFER.into());
    let finding = evidence::with(finding, "last_moments_bytes", json!(last));
    let waited_ms = json!(waited_ns as f64 / 1e6);
    let finding = evidence::with(finding, "first_byte_after_ms", waited_ms);
    let block = stream.row.bytes.checked_div(stream.row.calls);
    evidence::with(finding, "bytes_per_write", json!(block))
}

/// Whether the writer itself was started shortly before it wrote; then nothing was held back.
fn began_late(case: &Case<'_>, subject: &Subject<'_>, object: ObjectId, waited: u64) -> bool {
    subject
        .members
        .iter()
        .flat_map(|member| case.session.rows_on(*member, object, WRITE))
        .filter(|(_, row)| row.bytes > 0)
        .all(|(key, row)| row.first_ns.saturating_sub(key.process.start_ns) * 2 < waited)
}

fn last_moments(case: &Case<'_>, subject: &Subject<'_>, object: ObjectId) -> u64 {
    subject
        .members
        .iter()
        .flat_map(|member| case.session.rows_on(*member, object, WRITE))
        .map(|(_, row)| row.last_moments_bytes())
        .sum()
}
