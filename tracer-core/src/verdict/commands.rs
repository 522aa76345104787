//! The commands of a session: each with its streams, and with what became of each segment of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
};

use tracer_common::{
    id::ProcessId,
    ledger::{LedgerRow, WRITE, error},
    object::ObjectId,
};

use super::{
    Case, Confidence, Stream, Subject,
    outcome::{Outcome, Outcomes},
    rows::{add, without_probes},
    rules::blocked_open,
    segments::{Segment, segments},
    subject::is_command,
};
use crate::{
    event::BlockedThread,
    session::{Kind, Process, Session},
};

/// A process that was started to run a program, or that wrote to stdout or stderr.
pub struct Command<'a> {
    /// The process.
    pub process: &'a Process,
    /// The path of the FIFO that it is blocked opening.
    pub opening: Option<&'a str>,
    /// The segments of both streams, in the order of their beginning.
    pub parts: Vec<Part>,
}

/// A segment, and what became of its bytes.
pub struct Part {
    /// The segment.
    pub segment: Segment,
    /// Bytes that the processes that it started, and those that they started, wrote to the same stream.
    pub started: u64,
    /// What the process and all of these wrote.
    pub whole: LedgerRow,
    /// Bytes that were refused to all of these processes, and not written again.
    pub refused: u64,
    /// What became of the bytes of all of these processes.
    pub outcome: Outcome,
    /// Whether everything was counted that this rests on.
    pub confidence: Confidence,
}

/// The commands in order of their start, and the number of those that are left out, because there are more than `most`.
/// Those whose output did not arrive are kept first, then those that started first. `fds`: which of fd 1 and 2 are of
/// interest.
#[must_use]
pub fn commands<'a>(case: &Case<'a>, fds: &[i32], most: usize) -> (Vec<Command<'a>>, u64) {
    commands_by(case, fds, most, |command| (command.worst(), command.process.id))
}

/// The same; those with the smallest keys are kept. Each command has its own key.
pub(crate) fn commands_by<'a, K: Ord>(
    case: &Case<'a>,
    fds: &[i32],
    most: usize,
    key: impl Fn(&Command<'a>) -> K,
) -> (Vec<Command<'a>>, u64) {
    let mut builder = Builder::new(case, fds);
    let mut kept: BTreeMap<K, Command<'a>> = BTreeMap::new();
    let mut left_out = 0;
    // The process that starts another one has started before it.
    for process in case.session.processes.values().rev().filter(|process| process.is_target) {
        let below = builder.below.remove(&process.id).unwrap_or_default();
        if process.summed_up.is_none() {
            let found = builder.command(process, &below);
            kept.extend(found.map(|command| (key(&command), command)));
        }
        if kept.len() > most {
            kept.pop_last();
            left_out += 1;
        }
        builder.pass_up(process, below);
    }
    let mut found: Vec<Command<'a>> = kept.into_values().collect();
    found.sort_by_key(|command| command.process.id);
    (found, left_out)
}

impl Command<'_> {
    /// The outcome that makes it worth keeping. Silence and what arrived count the same: most commands write nothing to
    /// one of their streams.
    pub(crate) fn worst(&self) -> Outcome {
        let outcomes = self.parts.iter().map(|part| part.outcome);
        outcomes.filter(|outcome| *outcome < Outcome::NeverWritten).min().unwrap_or(Outcome::Device)
    }
}

/// What processes wrote, by object and fd.
type Sums = BTreeMap<(ObjectId, i32), Sum>;

/// What several processes wrote through one fd to one object.
struct Sum {
    row: LedgerRow,
    is_blocked: bool,
}

impl Default for Sum {
    fn default() -> Self {
        Self { row: LedgerRow::ZERO, is_blocked: false }
    }
}

impl Sum {
    fn add(&mut self, row: &LedgerRow, is_blocked: bool) {
        add(&mut self.row, row);
        self.is_blocked |= is_blocked;
    }
}

struct Builder<'c, 'a> {
    case: &'c Case<'a>,
    fds: &'c [i32],
    outcomes: Outcomes<'c, 'a>,
    subjects: BTreeMap<ProcessId, &'c Subject<'a>>,
    /// Threads that are blocked in a write, by process.
    blocked: BTreeMap<ProcessId, Vec<&'a BlockedThread>>,
    /// The FIFOs that processes sleep in the opening of.
    opening: BTreeMap<ProcessId, &'a str>,
    /// What the processes below each process wrote, as far as they were visited.
    below: BTreeMap<ProcessId, Sums>,
}

impl<'c, 'a> Builder<'c, 'a> {
    fn new(case: &'c Case<'a>, fds: &'c [i32]) -> Self {
        let mut blocked: BTreeMap<ProcessId, Vec<&BlockedThread>> = BTreeMap::new();
        for thread in case.blocked_writers.values().flatten() {
            blocked.entry(thread.process).or_default().push(thread);
        }
        let opening = blocked_open::opening(case);
        Self {
            case,
            fds,
            outcomes: Outcomes::new(case),
            subjects: case.subjects.iter().map(|subject| (subject.process.id, subject)).collect(),
            blocked,
            opening: opening.map(|(known, thread)| (known.id, thread.path.as_str())).collect(),
            below: BTreeMap::new(),
        }
    }

    fn blocked(&self, process: ProcessId) -> &[&'a BlockedThread] {
        self.blocked.get(&process).map_or(&[], Vec::as_slice)
    }

    /// The process as a command, if it is one.
    fn command(&mut self, process: &'a Process, below: &Sums) -> Option<Command<'a>> {
        let session = self.case.session;
        let subject = self.subjects.get(&process.id).copied();
        let mut segments = segments(session, process, subject, self.blocked(process.id));
        segments.retain(|segment| self.fds.contains(&segment.stream));
        let is_used = |segment: &Segment| segment.is_blocked || has_tried(&segment.row);
        let opening = self.opening.get(&process.id).copied();
        let counts = is_command(process)
            || subject.is_some()
            || opening.is_some()
            || segments.iter().any(is_used);
        if !counts {
            return None;
        }
        let started = started(session, &segments, below);
        let parts = segments.into_iter().zip(started);
        let parts = parts.map(|(segment, sum)| self.part(process, segment, &sum));
        let parts = parts.collect();
        Some(Command { process, opening, parts })
    }

    fn part(&mut self, process: &Process, segment: Segment, started: &Sum) -> Part {
        let (fd, object) = (segment.fd, segment.object);
        let mut row = segment.row;
        add(&mut row, &started.row);
        let stream = Stream { fd, object, kind: self.case.session.object_kind(&object), row };
        let is_blocked = segment.is_blocked || started.is_blocked;
        let is_opening = self.opening.contains_key(&process.id);
        Part {
            outcome: self.outcomes.of(process, &stream, (is_blocked, is_opening)),
            confidence: self.case.confidence_of(process, &[object]),
            started: started.row.bytes,
            whole: stream.row,
            refused: refused(&stream, process.end_ns.is_some()),
            segment,
        }
    }

    /// Adds what a process and those below it wrote to what those below its parent wrote.
    fn pass_up(&mut self, process: &Process, mut sums: Sums) {
        let session = self.case.session;
        if !session.processes.contains_key(&process.parent) {
            return;
        }
        let succeeded = process.exit_code() == Some(0);
        let rows = session.rows_of(process.id, WRITE);
        for (key, row) in rows.filter(|(key, _)| session.is_output(key)) {
            let sum = sums.entry((key.object, key.fd)).or_default();
            sum.add(&without_probes(row, succeeded), false);
        }
        for thread in self.blocked(process.id) {
            let Some(object) = thread.object else { continue };
            sums.entry((object, thread.fd)).or_default().is_blocked = true;
        }
        let above = self.below.entry(process.parent).or_default();
        // The smaller one is added to the larger one.
        if above.len() < sums.len() {
            mem::swap(above, &mut sums);
        }
        for (key, sum) in sums {
            above.entry(key).or_default().add(&sum.row, sum.is_blocked);
        }
    }
}

/// What the processes below wrote to each segment. A row belongs to the segment with its fd and object, else to the
/// first segment with its object. A device, which anything can open, is told apart by the fd.
fn started(session: &Session, segments: &[Segment], below: &Sums) -> Vec<Sum> {
    let places: BTreeSet<(ObjectId, i32)> =
        segments.iter().map(|segment| (segment.object, segment.fd)).collect();
    let mut seen = BTreeSet::new();
    let sum = |segment: &Segment| {
        let (object, fd) = (segment.object, segment.fd);
        let mut sum = Sum::default();
        if let Some(exact) = below.get(&(object, fd)) {
            sum.add(&exact.row, exact.is_blocked);
        }
        let kind = session.object_kind(&object);
        if seen.insert(object) && !matches!(kind, Kind::Null | Kind::Device | Kind::Closed) {
            let same = below.range((object, i32::MIN)..=(object, i32::MAX));
            let others = same.filter(|(place, _)| !places.contains(place));
            others.for_each(|(_, other)| sum.add(&other.row, other.is_blocked));
        }
        sum
    };
    segments.iter().map(sum).collect()
}

fn has_tried(row: &LedgerRow) -> bool {
    row.calls > 0 || row.errors.iter().any(|count| *count > 0)
}

/// Bytes that were refused and not written again. Of `EAGAIN` these are the bytes of the latest call, if the process
/// ended after it.
pub(super) fn refused(stream: &Stream, has_ended: bool) -> u64 {
    let is_failure = |class: &usize| ![error::EAGAIN, error::EINTR].contains(&(*class as u32));
    let has_failed = (0..error::COUNT).filter(is_failure).any(|class| stream.row.errors[class] > 0);
    let failed = if has_failed { stream.row.failed } else { 0 };
    let put_off = if has_ended { stream.row.last_refused } else { 0 };
    failed.saturating_add(put_off)
}
