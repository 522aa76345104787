//! Builds the report from a session and its findings.

mod captured;
pub(crate) mod commands;
mod excerpt;
pub(crate) mod object;
pub(crate) mod paths;
mod process;
mod tail;
mod wanted;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    panic::resume_unwind,
    thread,
};

use jiff::Timestamp;
use tracer_common::{
    ledger::{READ, WRITE},
    loss::Reason,
    object::ObjectId,
};

#[cfg(test)]
pub(crate) use self::commands::commands;
pub use self::{
    captured::{captured, recovered, stream_of},
    tail::{LostStream, lost_streams, tail},
    wanted::{Wanted, wanted},
};
use super::{Process, Report, SCHEMA, Sandbox, SummedUp, Window};
use crate::{
    event,
    recording::{self, Recording},
    session::{self, Flows, LossReason, Session, Target},
    text::units,
    verdict::{self, Case, Finding, SIMILAR_COMMANDS, Severity},
};

/// Of more processes than this, a second thread describes them.
const MANY: usize = 256;

impl Recording {
    /// The report, as the live run built it, and the case behind it.
    #[must_use]
    pub fn report(&self) -> (Report, Case<'_>) {
        let recording::Header { target, start, stdio_of_interest, .. } = &self.header;
        build(&self.session, target.clone(), *start, stdio_of_interest)
    }
}

/// Judges a session and builds the report; [`wanted()`] needs the case as well. `start`: start of the trace in real
/// time. `stdio_of_interest`: which of fd 0, 1 and 2 the user asked for.
#[must_use]
pub fn build<'a>(
    session: &'a Session,
    target: Target,
    start: Timestamp,
    stdio_of_interest: &[i32],
) -> (Report, Case<'a>) {
    // Both are independent, and slow for tens of thousands of processes, so they run in parallel.
    let listed = || processes(session, stdio_of_interest);
    let is_large = session.processes.len() > MANY;
    let (case, findings, processes) = thread::scope(|scope| {
        // The system may allow no thread: the traced tree can use up a limit that it shares with tracer.
        let beside = is_large.then(|| thread::Builder::new().spawn_scoped(scope, listed));
        let beside = beside.and_then(Result::ok);
        let case = Case::new(session);
        let findings = verdict::judge(&case);
        let processes = beside.map_or_else(listed, |thread| {
            thread.join().unwrap_or_else(|panic| resume_unwind(panic))
        });
        (case, findings, processes)
    });
    (described(&case, findings, processes, (target, start), stdio_of_interest), case)
}

/// The report of a session that is judged already.
#[must_use]
pub fn of_case(
    case: &Case<'_>,
    findings: Vec<Finding>,
    target: Target,
    start: Timestamp,
    stdio_of_interest: &[i32],
) -> Report {
    let processes = processes(case.session, stdio_of_interest);
    described(case, findings, processes, (target, start), stdio_of_interest)
}

fn described(
    case: &Case<'_>,
    findings: Vec<Finding>,
    processes: Vec<Process>,
    (target, start): (Target, Timestamp),
    stdio_of_interest: &[i32],
) -> Report {
    let (session, flows) = (case.session, &case.flows);
    // Leaves out objects that a relay holds open and never used.
    let is_used = |id: &ObjectId| flows.get(id).is_used() || flows.get(&session.peer(id)).is_used();
    let is_told = |known: &&session::Object| known.hop == 0 || is_used(&known.id);
    let mut seen: Vec<&session::Object> = session.objects.values().filter(is_told).collect();
    seen.sort_by_key(|object| (object.seen_ns, object.id));
    let summed_up = summed_up(session);
    let ended = summed_up.iter().map(|sums| sums.processes).sum();
    let (commands, more_commands) = commands::commands(case, stdio_of_interest);
    Report {
        schema: SCHEMA.to_owned(),
        verdict: headline(&findings, || count_commands(&processes), ended),
        target,
        window: Window {
            start: start.to_string(),
            seconds: session.end_ns.saturating_sub(session.start_ns) as f64 / 1e9,
        },
        processes,
        summed_up,
        objects: seen.into_iter().map(|known| object::object(session, known, flows)).collect(),
        commands,
        more_commands,
        hops: paths::hops(case),
        claims: paths::claims(case),
        worker_logs: paths::worker_logs(session),
        findings,
        losses: losses(session, flows),
        lost_bytes: lost_bytes(session, flows),
        sandboxes: session.sandboxes.values().map(sandbox).collect(),
        capture: None,
        tails: Vec::new(),
        more_tails: 0,
    }
}

/// The target's processes in order of their start.
fn processes(session: &Session, stdio_of_interest: &[i32]) -> Vec<Process> {
    let is_single = |process: &&session::Process| process.is_target && process.summed_up.is_none();
    let targets = session.processes.values().filter(is_single);
    let mut processes: Vec<Process> =
        targets.map(|known| process::process(session, known, stdio_of_interest)).collect();
    processes.sort_by(|a, b| a.start_ms.total_cmp(&b.start_ms));
    processes
}

fn sandbox(known: &event::Sandbox) -> Sandbox {
    Sandbox {
        number: known.number,
        container: known.container.clone(),
        pid: known.sentry.tgid,
        looked_late: known.looked_late,
    }
}

/// The processes that were summed up, those of most processes first.
fn summed_up(session: &Session) -> Vec<SummedUp> {
    let bytes = |process: &session::Process, direction| {
        let own =
            session.rows_of(process.id, direction).filter(|(key, _)| process::is_own(session, key));
        own.map(|(_, row)| row.bytes).sum()
    };
    let mut all: Vec<SummedUp> = session
        .processes
        .values()
        .filter_map(|process| {
            let sums = process.summed_up?;
            Some(SummedUp {
                comm: process.comm.clone(),
                ppid: process.parent.tgid,
                processes: sums.processes,
                failed: sums.failed,
                written: bytes(process, WRITE),
                read: bytes(process, READ),
            })
        })
        .collect();
    all.sort_by_key(|sums| Reverse(sums.processes));
    all
}

/// The first sentence. `commands`: the number of commands that are described. `ended`: the number of processes that were
/// summed up; if every command was, no finding is left.
pub(crate) fn headline(findings: &[Finding], commands: impl Fn() -> u64, ended: u64) -> String {
    if findings.is_empty() && ended > 0 {
        return format!(
            "{ended} processes ended, and no loss was found in what they wrote; they are summed up by command."
        );
    }
    let first = verdict::headline(findings);
    let lost = commands_with_loss(findings);
    if lost < 2 || findings.first().is_none_or(|finding| finding.severity != Severity::Loss) {
        return first;
    }
    let of = units::grouped((commands() + ended).max(lost));
    format!("{} of {of} commands lost output; the worst: {first}", units::grouped(lost))
}

/// The number of processes that were started to run a program, or that wrote.
fn count_commands(processes: &[Process]) -> u64 {
    let wrote = |process: &&Process| process.fds.iter().any(|fd| fd.bytes > 0);
    processes.iter().filter(|process| process.executed || wrote(process)).count() as u64
}

/// How many commands lost output: those of the findings, and those that are only counted there.
fn commands_with_loss(findings: &[Finding]) -> u64 {
    let shown: BTreeSet<_> = findings.iter().filter_map(Finding::loser).collect();
    let further = |finding: &Finding| finding.evidence.get(SIMILAR_COMMANDS)?.as_u64();
    shown.len() as u64 + findings.iter().filter_map(further).sum::<u64>()
}

/// All reasons, with 0 for those that did not occur.
fn losses(session: &Session, flows: &Flows) -> BTreeMap<LossReason, u64> {
    let mut losses: BTreeMap<LossReason, u64> =
        LossReason::all().map(|reason| (reason, 0)).collect();
    losses.extend(session.losses.iter().map(|(reason, cell)| (reason.clone(), cell.events)));
    losses.insert(Reason::Uncounted.into(), flows.uncounted.len() as u64);
    losses
}

/// Bytes by reason, as far as known.
fn lost_bytes(session: &Session, flows: &Flows) -> BTreeMap<LossReason, u64> {
    let counted = session.losses.iter().map(|(reason, cell)| (reason.clone(), cell.bytes));
    let uncounted = flows.uncounted.iter().map(|found| found.bytes).sum();
    let all = counted.chain([(Reason::Uncounted.into(), uncounted)]);
    all.filter(|(_, bytes)| *bytes > 0).collect()
}
