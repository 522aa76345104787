//! A trace at one moment, for a view: what would be reported if the trace ended now.
//!
//! It has less than a [`report`](crate::report): no process that is no command, and only the objects that the streams
//! of the commands led to. So it can be built several times a second, and its size has a limit. A source of snapshots
//! may be a running trace, a recording, or another process.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use serde::{Deserialize, Serialize};
use tracer_common::{id::ProcessId, ledger::WRITE, object::ObjectId};

use crate::{
    report::{
        Chain, Command, Object, Recovered,
        build::{self, commands::command, object::object, paths::hops},
    },
    session::{Process, Session, Target},
    verdict::{self, Bytes, Case, Finding, Rule, Severity},
};

/// The most commands of one snapshot.
const MOST_ROWS: usize = 1024;
/// The most findings.
const MOST_FINDINGS: usize = 512;
/// The most writers, readers and holders of one object.
const MOST_ENDS: usize = 16;

/// A trace at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The target.
    pub target: Target,
    /// Milliseconds since the start of the trace.
    pub at_ms: f64,
    /// Whether the trace has ended; else the numbers go on.
    pub is_over: bool,
    /// The most important finding, as one sentence.
    pub verdict: String,
    /// Sums over all commands.
    pub totals: Totals,
    /// The commands in order of their start. If there are too many, those whose output did not arrive, then those that
    /// run, then those that started last.
    pub rows: Vec<Row>,
    /// Number of further commands that are left out.
    pub more_rows: u64,
    /// Findings, the most important first.
    pub findings: Vec<Finding>,
    /// The objects that the segments of the commands lead to, by [`Object::id`]; at most 16 writers, readers,
    /// holders and latest closes of each.
    pub objects: BTreeMap<String, Object>,
    /// The paths of the output from process to process.
    pub hops: Vec<Chain>,
    /// Captured output that did not arrive; known when the trace has ended.
    pub recovered: Vec<Recovered>,
}

/// Sums over all commands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Processes of the target, those included that are summed up.
    pub processes: u64,
    /// Those that have not ended.
    pub running: u64,
    /// Bytes that the target wrote to its streams. The other sums are those of the rows.
    pub bytes: Bytes,
}

/// One command.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Its process.
    pub id: ProcessId,
    /// The nearest row above it: its parent, or the parent of that.
    pub above: Option<ProcessId>,
    /// Its images, streams and segments.
    pub command: Command,
    /// What became of the bytes that it wrote itself to stdout and stderr.
    pub streams: [Bytes; 2],
    /// How bad the worst of it is.
    pub severity: Severity,
    /// Whether it is blocked in a write, or in the opening of a FIFO.
    pub is_stuck: bool,
    /// Where it runs, and when it ended if only that it lost output is known; `None` if the source does not know.
    pub place: Option<String>,
}

impl Snapshot {
    /// The snapshot of a session at [`Session::end_ns`]. `stdio_of_interest`: which of fd 0, 1 and 2 the user asked for.
    /// `is_over`: whether the trace has ended. While it runs, its parts are not of the same moment, so what would not
    /// balance at the end is left out.
    #[must_use]
    pub fn of(
        session: &Session,
        target: &Target,
        stdio_of_interest: &[i32],
        is_over: bool,
    ) -> Self {
        let case = Case::new(session);
        let mut findings = verdict::judge(&case);
        findings.retain(|finding| is_over || finding.rule != Rule::Unbalanced);
        findings.truncate(MOST_FINDINGS);
        let (rows, objects, more_rows) = rows(&case, stdio_of_interest);
        let totals = totals(session, &rows);
        let ended = session.processes.values().filter_map(|process| process.summed_up);
        let ended = ended.map(|sums| sums.processes).sum();
        Self {
            target: target.clone(),
            at_ms: session.since_start_ms(session.end_ns),
            is_over,
            verdict: build::headline(&findings, || count_commands(session), ended),
            totals,
            more_rows,
            objects: objects.iter().filter_map(|id| described(&case, id)).collect(),
            hops: hops(&case),
            rows,
            findings,
            recovered: Vec::new(),
        }
    }

    /// The severity of the verdict; a warning if nothing was found, because then nothing ran.
    #[must_use]
    pub fn severity(&self) -> Severity {
        self.findings.first().map_or(Severity::Warning, |finding| finding.severity)
    }
}

/// The commands, the objects of their segments, and the number of those that are left out.
fn rows(case: &Case<'_>, stdio_of_interest: &[i32]) -> (Vec<Row>, BTreeSet<ObjectId>, u64) {
    // In a long trace most commands have ended long ago.
    let key = |command: &verdict::Command<'_>| {
        let process = command.process;
        (command.worst(), process.end_ns.is_some(), Reverse(process.id))
    };
    let (found, more) = verdict::commands_by(case, stdio_of_interest, MOST_ROWS, key);
    let ids: BTreeSet<ProcessId> = found.iter().map(|known| known.process.id).collect();
    let mut objects = BTreeSet::new();
    let rows = found.iter().map(|known| {
        objects.extend(known.parts.iter().map(|part| part.segment.object));
        row(case, known, stdio_of_interest, &ids)
    });
    (rows.collect(), objects, more)
}

fn row(
    case: &Case<'_>,
    known: &verdict::Command<'_>,
    stdio_of_interest: &[i32],
    ids: &BTreeSet<ProcessId>,
) -> Row {
    let process = known.process;
    let mut streams = [Bytes::default(); 2];
    let mut severity = Severity::Info;
    for part in &known.parts {
        let share = case.share(process, part);
        severity = severity.min(share.severity);
        let stream = usize::from(part.segment.stream == 2);
        if let Some(sum) = streams.get_mut(stream) {
            sum.add(&share.bytes);
        }
    }
    let mut above = case.session.line_of(process).skip(1).take(GENERATIONS);
    let is_stuck =
        |part: &verdict::Part| part.segment.is_blocked && part.outcome == verdict::Outcome::Blocked;
    Row {
        id: process.id,
        above: above.find(|known| ids.contains(&known.id)).map(|known| known.id),
        command: command(case, known, stdio_of_interest),
        streams,
        severity,
        is_stuck: known.opening.is_some() || known.parts.iter().any(is_stuck),
        place: None,
    }
}

/// Number of ancestors that are looked at.
const GENERATIONS: usize = 32;

fn described(case: &Case<'_>, id: &ObjectId) -> Option<(String, Object)> {
    let known = case.session.objects.get(id)?;
    let mut object = object(case.session, known, &case.flows);
    object.writers.truncate(MOST_ENDS);
    object.readers.truncate(MOST_ENDS);
    object.holders.truncate(MOST_ENDS);
    // The last close decides what became of the rest.
    object.closes.drain(..object.closes.len().saturating_sub(MOST_ENDS));
    Some((object.id.clone(), object))
}

fn totals(session: &Session, rows: &[Row]) -> Totals {
    let mut totals = Totals::default();
    for process in session.processes.values().filter(|process| process.is_target) {
        totals.processes += process.summed_up.map_or(1, |sums| sums.processes);
        totals.running += u64::from(process.end_ns.is_none());
    }
    for bytes in rows.iter().flat_map(|row| &row.streams) {
        totals.bytes.add(bytes);
    }
    let is_target =
        |process: &ProcessId| session.processes.get(process).is_some_and(|known| known.is_target);
    let own = session.ledger.iter().filter(|(key, _)| {
        key.direction == WRITE && session.is_of_targets(&key.object) && is_target(&key.process)
    });
    let written = own.fold(0u64, |sum, (_, row)| sum.saturating_add(row.bytes));
    totals.bytes.written = totals.bytes.written.max(written);
    totals
}

/// The number of processes that were started to run a program, or that wrote.
fn count_commands(session: &Session) -> u64 {
    let is_single = |process: &&Process| process.is_target && process.summed_up.is_none();
    let wrote =
        |process: &Process| session.rows_of(process.id, WRITE).any(|(_, row)| row.bytes > 0);
    let targets = session.processes.values().filter(is_single);
    targets.filter(|process| process.executed || wrote(process)).count() as u64
}

#[cfg(test)]
mod tests;
