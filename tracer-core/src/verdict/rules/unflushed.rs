//! The program ended with output in a buffer of its own, very likely: it buffers, because its output is no terminal, and
//! a signal ended it before the buffer was written. A service that wrote to other places and was ended as usual had nothing
//! to print.

use serde_json::json;
use tracer_common::ledger::{LedgerRow, WRITE};

use super::super::{Case, evidence, words};
use crate::{
    session::{Kind, Process},
    text::{signal, units},
    verdict::{Confidence, Finding, Rule, Severity},
};

/// Sizes of the buffers of C and Python programs, and of others.
const BLOCKS: [u64; 5] = [4096, 8192, 16_384, 32_768, 65_536];

pub(super) fn find(case: &Case<'_>) -> Vec<Finding> {
    let targets = case.session.processes.values();
    let commands = targets.filter(|process| process.is_target && process.executed);
    commands.filter_map(|process| of_process(case, process)).collect()
}

fn of_process(case: &Case<'_>, process: &Process) -> Option<Finding> {
    let stdout = process.stdio_object(1)?;
    let keeps = matches!(
        case.session.object_kind(&stdout),
        Kind::Pipe | Kind::Fifo | Kind::Socket | Kind::File
    );
    let signal = signal::named(process.killed_by()?);
    let written = written(case, process);
    let is_block = |block: &u64| Some(written.bytes) == written.calls.checked_mul(*block);
    let is_blocks = written.bytes > 0 && BLOCKS.iter().any(is_block);
    let failed = written.errors.iter().any(|count| *count > 0);
    let wrote_elsewhere = process.other_bytes != Some(0)
        || case
            .session
            .rows_of(process.id, WRITE)
            .filter(|(key, row)| row.bytes > 0 && !case.session.enters_cgroup(key))
            .any(|(key, _)| Some(key.object) != process.stdio_object(1));
    let was_idle = wrote_elsewhere && process.was_ended_by_user();
    // C programs do not ask for a terminal before they print into a pipe. `cat` and the like ask for its status although
    // they have nothing to print, and are ended so every day; but they do not crash.
    let buffers =
        process.was_refused_a_terminal(1) || process.crashed() && process.prepared_to_print();
    let is_likely = buffers && (is_blocks || written.bytes == 0 && !was_idle);
    if !keeps || failed || process.attached_late || !is_likely {
        return None;
    }
    let so_far = match written.bytes {
        0 => "wrote nothing to stdout".to_owned(),
        bytes => format!("wrote {} to stdout, in full blocks only", units::exact(bytes)),
    };
    let message = format!(
        "{} {so_far}, and it was killed by {signal}: what it had printed was still in its own buffer, very \
         likely, and is gone.",
        words::called(process)
    );
    let mut finding = evidence::of_process(process, Rule::Unflushed, Severity::Warning, message);
    finding.confidence = Confidence::Unsure;
    finding.advice = Some(
        "Let it write line by line (`stdbuf -oL`, `python -u`), or give it time to end by itself."
            .into(),
    );
    Some(evidence::with(finding, "stdout_bytes", json!(written.bytes)))
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
