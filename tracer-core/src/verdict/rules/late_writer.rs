//! The command ended, and a descendant still held or wrote its output: a manager that waits for the end of the stream
//! waits for that descendant.

use serde_json::json;
use tracer_common::{
    id::ProcessId,
    ledger::{WRITE, error},
    object::ObjectId,
};

use super::{
    super::{Case, Scope, Stream, Subject, evidence, words},
    delivered::is_delivered,
};
use crate::{
    session::Process,
    text::units,
    verdict::{Finding, Rule, Severity},
};

/// A descendant that ends within this time after the command is not late.
const AT_ONCE_NS: u64 = 200_000_000;

/// A descendant that used the command's streams after its end.
struct Late<'a> {
    process: &'a Process,
    /// Bytes that certainly came after the end of the command.
    bytes: u64,
    /// The same of writes that were refused because the reader was gone, and that did not end it.
    refused: u64,
    /// When it last used them.
    until_ns: u64,
    still_open: bool,
}

pub(super) fn find(case: &Case<'_>, subject: &Subject<'_>) -> Vec<Finding> {
    let Some(end_ns) = subject.process.end_ns else { return Vec::new() };
    let mut late: Vec<Late<'_>> = subject
        .members
        .iter()
        .filter(|member| **member != subject.process.id)
        .filter_map(|member| late(case, subject, *member, end_ns))
        .collect();
    if subject.scope != Scope::Outer && !late.is_empty() && is_launcher(case, subject, end_ns) {
        return Vec::new();
    }
    late.sort_by_key(|late| (!late.still_open, std::cmp::Reverse(late.until_ns)));
    late.first()
        .map(|worst| describe(case, subject, worst, late.len(), end_ns))
        .into_iter()
        .collect()
}

fn late<'a>(
    case: &'a Case<'_>,
    subject: &Subject<'_>,
    member: ProcessId,
    end_ns: u64,
) -> Option<Late<'a>> {
    let process = case.session.processes.get(&member)?;
    let is_stream = |object: &ObjectId| {
        subject.distinct_streams().iter().any(|stream| {
            stream.object == *object && stream.kind.passes_on() && !stream.object.is_none()
        })
    };
    let (mut bytes, mut refused, mut wrote_ns) = (0, 0, 0);
    for (key, row) in case.session.rows_of(member, WRITE) {
        if is_stream(&key.object) && row.last_ns > end_ns {
            wrote_ns = row.last_ns.max(wrote_ns);
            // A row that began before the end does not show how many of its bytes came after it.
            bytes += if row.first_ns > end_ns { row.bytes } else { 0 };
            let is_only = row.bytes == 0 && row.errors[error::EPIPE as usize] > 0;
            refused += if row.first_ns > end_ns && is_only { row.failed } else { 0 };
        }
    }
    let held = |stdio: &Option<[tracer_common::object::FdState; 3]>| {
        stdio.is_some_and(|stdio| stdio[1..].iter().any(|state| is_stream(&state.object)))
    };
    let still_open = process.end_ns.is_none()
        && held(&process.stdio)
        && subject.distinct_streams().iter().any(|stream| holds(case, member, &stream.object));
    let held_to_end = process.end_ns.filter(|_| held(&process.stdio_at_end)).unwrap_or(0);
    let until_ns = if still_open { case.session.end_ns } else { wrote_ns.max(held_to_end) };
    // Inside another command, only what was written counts: that one knows what it waits for.
    let counts = subject.scope == Scope::Outer || bytes > 0 && subject.process.executed;
    (until_ns > end_ns + AT_ONCE_NS && counts).then_some(Late {
        process,
        bytes,
        refused: if process.has_failed() { 0 } else { refused },
        until_ns,
        still_open,
    })
}

/// Whether a command only started what writes: nothing was written before it ended, and all of it arrived. `runc create`
/// leaves its streams to the container, and `setsid --fork` to its child.
fn is_launcher(case: &Case<'_>, subject: &Subject<'_>, end_ns: u64) -> bool {
    let used: Vec<&Stream> =
        subject.distinct_streams().into_iter().filter(|stream| stream.row.bytes > 0).collect();
    let rows = subject.members.iter().flat_map(|member| case.session.rows_of(*member, WRITE));
    let mut early = rows.filter(|(_, row)| row.bytes > 0 && row.first_ns <= end_ns);
    let is_used = |object: &ObjectId| used.iter().any(|stream| stream.object == *object);
    used.iter().all(|stream| is_delivered(case, stream))
        && !early.any(|(key, _)| is_used(&key.object))
}

/// What it did, and when the stream ended.
fn what_it_did(late: &Late<'_>, end_ns: u64) -> String {
    let what = match (late.bytes, late.still_open) {
        (0, true) => "still holds its output open".to_owned(),
        (0, false) => "held its output open".to_owned(),
        (bytes, true) => format!("wrote {} later and still holds it open", units::exact(bytes)),
        (bytes, false) => format!("wrote {} later", units::exact(bytes)),
    };
    let what = match late.refused {
        0 => what,
        refused => {
            format!("{what}, and {} that it wrote then were refused (EPIPE)", units::exact(refused))
        }
    };
    let after = units::span(late.until_ns, end_ns);
    if late.still_open {
        format!("{what}: {after} after the command the stream has not ended")
    } else {
        format!("{what}: the stream ended {after} after the command")
    }
}

/// Its command line and pid; for a fork of the command itself, such as a subshell, only the name and pid.
fn called(process: &Process) -> String {
    if !process.executed {
        return process.short();
    }
    words::called(process)
}

/// Whether a process holds an object according to the latest survey; a daemon that has redirected its output does
/// not.
fn holds(case: &Case<'_>, process: ProcessId, object: &ObjectId) -> bool {
    case.session.holders(object).any(|held| held.process == process)
}

fn describe(
    case: &Case<'_>,
    subject: &Subject<'_>,
    late: &Late<'_>,
    how_many: usize,
    end_ns: u64,
) -> Finding {
    let others = match how_many - 1 {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let message = format!(
        "{} ended, but {}{others}, which it started, {}.{}",
        words::who(subject),
        called(late.process),
        what_it_did(late, end_ns),
        words::ending(subject)
    );
    let mut finding =
        evidence::finding(case, subject, Rule::LateWriter, Severity::Warning, message);
    finding.advice = Some(
        "A manager that waits for the end of the stream waits for that process; one that does not \
         wait loses what it writes. Redirect the output of what runs on in the background."
            .into(),
    );
    let facts = [
        ("late_pid", json!(late.process.id.tgid)),
        ("late_comm", json!(late.process.comm)),
        ("late_bytes", json!(late.bytes)),
        ("late_refused", json!(late.refused)),
        ("leader_end_ms", json!(case.session.since_start_ms(end_ns))),
        ("late_end_ms", json!(case.session.since_start_ms(late.until_ns))),
        ("still_open", json!(late.still_open)),
    ];
    evidence::with_all(finding, facts)
}
