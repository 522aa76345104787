//! A process passes on output while it reads it, the next reader leaves, and it ignores that: what it read afterwards went
//! nowhere.

use std::collections::BTreeSet;

use tracer_common::{
    ledger::{LedgerKey, LedgerRow, READ, WRITE, error},
    object::ObjectId,
};

use super::{
    super::super::{Case, Scope, Stream, Subject, evidence, words},
    refused_in_words,
};
use crate::{
    session::{Close, Process},
    text::units,
    verdict::{Finding, Rule, Severity},
};

pub(in crate::verdict::rules) fn find(case: &Case<'_>) -> Vec<Finding> {
    let targets = case.session.processes.values().filter(|process| {
        let went_on = process.end_ns.is_some() && !process.has_failed();
        process.is_target && !process.attached_late && went_on
    });
    targets.filter_map(|process| of_process(case, process)).collect()
}

fn of_process(case: &Case<'_>, process: &Process) -> Option<Finding> {
    let rows = case.session.rows_of(process.id, WRITE);
    let mut refused = rows.filter(|(key, row)| is_next(case, key, row));
    let (key, row) = refused.next()?;
    let (inputs, read, last_ns) = inputs(case, process);
    let kept = read.checked_sub(case.written_since(process, &inputs)?)?;
    // What it did not try to pass on, it did not want to.
    let was_refused = kept > 0 && kept <= row.failed;
    // A program that has read all before it writes is no relay: `subprocess.run(["head"], input=data)`.
    let is_relay = row.bytes > 0 && row.first_ns < last_ns;
    let closer = case.closer_at(&case.session.peer(&key.object), row.last_ns)?;
    (is_relay && was_refused)
        .then(|| describe(case, process, (key, row), (read, kept, inputs.first()), closer))
}

/// Whether a row is about the next reader, which left: through an fd that no finding about a stream is about.
fn is_next(case: &Case<'_>, key: &LedgerKey, row: &LedgerRow) -> bool {
    row.errors[error::EPIPE as usize] > 0
        && !matches!(key.fd, 1 | 2)
        && case.session.object_kind(&key.object).passes_on()
        && !case.subjects_of(&key.object).any(|subject| subject.members.contains(&key.process))
}

/// The objects from which a process read what other targets wrote, the one with the most bytes first; how many bytes these
/// are, and when it read there last.
fn inputs(case: &Case<'_>, process: &Process) -> (Vec<ObjectId>, u64, u64) {
    let is_of_target = |object: &ObjectId| {
        let writers = case.flows.get(&case.session.peer(object)).writers.iter();
        let mut others = writers.filter(|writer| writer.process != process.id && writer.bytes > 0);
        others.any(|writer| {
            case.session.processes.get(&writer.process).is_some_and(|known| known.is_target)
        })
    };
    let rows = case.session.rows_of(process.id, READ).filter(|(key, row)| {
        let passes_on = case.session.object_kind(&key.object).passes_on();
        row.bytes > 0 && passes_on && is_of_target(&key.object)
    });
    let mut rows: Vec<_> = rows.collect();
    rows.sort_by_key(|(_, row)| std::cmp::Reverse(row.bytes));
    let last_ns = rows.iter().map(|(_, row)| row.last_ns).max().unwrap_or(0);
    let read = rows.iter().map(|(_, row)| row.bytes).sum();
    (rows.iter().map(|(key, _)| key.object).collect(), read, last_ns)
}

fn describe(
    case: &Case<'_>,
    process: &Process,
    (key, row): (&LedgerKey, &LedgerRow),
    (read, kept, input): (u64, u64, Option<&ObjectId>),
    closer: &Close,
) -> Finding {
    let kind = case.session.object_kind(&key.object);
    let stream = Stream { fd: key.fd, object: key.object, kind, row: *row };
    let members = BTreeSet::from([process.id]);
    let alone =
        Subject::new(process, members, [stream.clone(), Stream { fd: 2, ..Stream::default() }]);
    let subject = Subject { scope: Scope::Redirected, ..alone };
    let writers = input.map(|input| &case.flows.get(&case.session.peer(input)).writers);
    let writer = writers.and_then(|writers| case.session.processes.get(&writers.first()?.process));
    let message = format!(
        "{} read {}{} and could not pass on {} of it: {} (EPIPE, {} refused), and it went on.{}",
        words::called(process),
        units::exact(read),
        writer.map_or(String::new(), |writer| format!(" from {}", writer.short())),
        units::exact(kept),
        words::closed_by(case, closer, &subject, &stream),
        refused_in_words(&stream),
        words::end_of(process)
    );
    // A reader that succeeded may have had enough, but the relay took all that its writers had to say.
    let had_enough = case.is_beside(&subject, closer.process);
    let severity = if had_enough { Severity::Warning } else { Severity::Loss };
    let finding = evidence::of_process(process, Rule::ReaderGone, severity, message);
    let mut finding = evidence::seen(case, &stream, evidence::with_stream(finding, case, &stream));
    finding.advice =
        Some("The relay must end, or say so, when its next reader is gone.".to_owned());
    evidence::with_closer(finding, case, Some(closer))
}
