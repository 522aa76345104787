//! The program ended with output in a buffer of its own, very likely: it buffers, because its output is no terminal, and
//! a signal ended it before the buffer was written. A service that wrote to other places and was ended as usual had nothing
//! to print. A helper that its starter ends had nothing to print either, as far as anything shows.

use std::{cell::LazyCell, collections::BTreeMap, ops::Deref};

use serde_json::json;
use tracer_common::{
    id::ProcessId,
    ledger::{LedgerRow, WRITE},
};

use super::super::{Case, evidence, words};
use crate::{
    session::{Kind, Process},
    text::{signal, units},
    verdict::{Confidence, Finding, Rule, Severity},
};

/// Sizes of the buffers of C and Python programs, and of others.
const BLOCKS: [u64; 5] = [4096, 8192, 16_384, 32_768, 65_536];
/// The buffer of Python for text, which is written in whole lines.
const OF_LINES: u64 = 8192;

/// Within this time after its starter, a helper ends because of it.
const MOMENT_NS: u64 = 200_000_000;

/// When each process started its latest child, nanoseconds since boot.
type Children = BTreeMap<ProcessId, u64>;

pub(super) fn find(case: &Case<'_>) -> Vec<Finding> {
    let targets = || case.session.processes.values().filter(|process| process.is_target);
    let children = LazyCell::new(|| {
        let mut children = Children::new();
        for child in targets() {
            let latest_ns = children.entry(child.parent).or_default();
            *latest_ns = child.id.start_ns.max(*latest_ns);
        }
        children
    });
    let commands = targets().filter(|process| process.executed);
    commands.filter_map(|process| of_process(case, process, &children)).collect()
}

fn of_process(
    case: &Case<'_>,
    process: &Process,
    children: &impl Deref<Target = Children>,
) -> Option<Finding> {
    let signal = signal::named(process.killed_by()?);
    let written = written(case, process);
    if process.attached_late || !has_buffer(case, process, &written) {
        return None;
    }
    let so_far = match written.bytes {
        0 => "wrote nothing to stdout".to_owned(),
        bytes => format!("wrote {} to stdout, in full blocks only", units::exact(bytes)),
    };
    let is_silent = written.bytes == 0;
    let starter = is_silent.then(|| starter(case, process, children)).flatten();
    let (severity, what) = match starter {
        Some(starter) => (
            Severity::Info,
            format!(
                "{}, which started it, {}. If it had printed something, that was still in its own buffer, and is gone",
                starter.short(),
                if starter.end_ns < process.end_ns { "had ended" } else { "went on" }
            ),
        ),
        None => (
            Severity::Warning,
            "what it had printed was still in its own buffer, very likely, and is gone".to_owned(),
        ),
    };
    let message =
        format!("{} {so_far}, and it was killed by {signal}: {what}.", words::called(process));
    let mut finding = evidence::of_process(process, Rule::Unflushed, severity, message);
    finding.confidence = Confidence::Unsure;
    finding.advice = Some(
        "Let it write line by line (`stdbuf -oL`, `python -u`), or give it time to end by itself."
            .into(),
    );
    Some(evidence::with(finding, "stdout_bytes", json!(written.bytes)))
}

/// Whether a process that was killed had something in a buffer, very likely.
fn has_buffer(case: &Case<'_>, process: &Process, written: &LedgerRow) -> bool {
    let Some(stdout) = process.stdio_object(1) else { return false };
    let keeps = matches!(
        case.session.object_kind(&stdout),
        Kind::Pipe | Kind::Fifo | Kind::Socket | Kind::File
    );
    let failed = written.errors.iter().any(|count| *count > 0);
    let wrote_elsewhere = process.other_bytes != Some(0)
        || case
            .session
            .rows_of(process.id, WRITE)
            .filter(|(key, row)| row.bytes > 0 && !case.session.enters_cgroup(key))
            .any(|(key, _)| key.object != stdout);
    let was_idle = wrote_elsewhere && process.was_ended_by_user();
    // C programs do not ask for a terminal before they print into a pipe. `cat` and the like ask for its status although
    // they have nothing to print, and are ended so every day; but they do not crash.
    let asked = process.was_refused_a_terminal(1);
    let is_blocks = are_full(written) || asked && are_full_of_lines(written);
    let buffers = asked || process.crashed() && process.prepared_to_print();
    keeps && !failed && buffers && (is_blocks || written.bytes == 0 && !was_idle)
}

fn are_full(written: &LedgerRow) -> bool {
    let is_block = |block: &u64| Some(written.bytes) == written.calls.checked_mul(*block);
    written.bytes > 0 && BLOCKS.iter().any(is_block)
}

/// Whether several writes fill the buffer of lines on average, but for less than an eighth: the next line found no room.
fn are_full_of_lines(written: &LedgerRow) -> bool {
    let most = written.calls.saturating_mul(OF_LINES);
    written.calls > 1 && written.bytes <= most && written.bytes > most - most / 8
}

/// The process that started a helper, and went on when that was ended as users end programs, or ended it at last: it
/// succeeded, or it had not waited for it before, and passed its end on (`kill $pid; wait $pid`). The helper's stdout is
/// that of its starter: a file or a pipe of its own is there for its output.
fn starter<'a>(
    case: &'a Case<'_>,
    helper: &Process,
    children: &impl Deref<Target = Children>,
) -> Option<&'a Process> {
    let starter = case.session.processes.get(&helper.parent).filter(|known| known.is_target)?;
    let went_on = match starter.exit_code()? {
        0 => true,
        code if Some(code) == helper.signal().map(|signal| 128 + signal) => {
            let mut rows = case.session.rows_of(starter.id, WRITE).filter(|(_, row)| row.bytes > 0);
            let is_beside = |time_ns| time_ns > helper.id.start_ns && Some(time_ns) < helper.end_ns;
            rows.any(|(_, row)| is_beside(row.last_ns))
                || children.get(&starter.id).copied().is_some_and(is_beside)
        }
        _ => false,
    };
    // `trap 'kill $pid' EXIT` does not wait.
    let is_later = starter.end_ns?.saturating_add(MOMENT_NS) >= helper.end_ns?;
    let shares = starter.stdio_object(1) == helper.stdio_object(1);
    (is_later && went_on && shares && helper.was_ended_by_user()).then_some(starter)
}

/// What a process wrote to the object that was its stdout at the start.
fn written(case: &Case<'_>, process: &Process) -> LedgerRow {
    let stdout = process.stdio_object(1);
    let mut sum = LedgerRow::ZERO;
    for (key, row) in case.session.rows_of(process.id, WRITE) {
        if Some(key.object) == stdout && key.fd != 2 {
            super::super::rows::add(&mut sum, row);
        }
    }
    sum
}
