//! Builds the report from a session and its findings.

mod captured;
mod excerpt;
mod object;
mod paths;
mod process;
mod wanted;

use std::{collections::BTreeMap, panic::resume_unwind, thread};

use jiff::Timestamp;
use tracer_common::{loss::Reason, object::ObjectId};

pub use self::{
    captured::{captured, recovered, stream_of},
    wanted::{Wanted, wanted},
};
use super::{Process, Report, SCHEMA, Window};
use crate::{
    recording::{self, Recording},
    session::{self, Flows, LossReason, Session, Target},
    verdict::{self, Case},
};

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
    let described = || processes(session, stdio_of_interest);
    let (case, findings, processes) = thread::scope(|scope| {
        // The system may allow no thread: the traced tree can use up a limit that it shares with tracer.
        let beside = thread::Builder::new().spawn_scoped(scope, described).ok();
        let case = Case::new(session);
        let findings = verdict::judge(&case);
        let processes = beside.map_or_else(described, |thread| {
            thread.join().unwrap_or_else(|panic| resume_unwind(panic))
        });
        (case, findings, processes)
    });
    let flows = &case.flows;
    // Leaves out objects that a relay holds open and never used.
    let is_used = |id: &ObjectId| flows.get(id).is_used() || flows.get(&session.peer(id)).is_used();
    let is_told = |known: &&session::Object| known.hop == 0 || is_used(&known.id);
    let mut seen: Vec<&session::Object> = session.objects.values().filter(is_told).collect();
    seen.sort_by_key(|object| (object.seen_ns, object.id));
    let report = Report {
        schema: SCHEMA.to_owned(),
        verdict: verdict::headline(&findings),
        target,
        window: Window {
            start: start.to_string(),
            seconds: session.end_ns.saturating_sub(session.start_ns) as f64 / 1e9,
        },
        processes,
        objects: seen.into_iter().map(|known| object::object(session, known, flows)).collect(),
        hops: paths::hops(&case),
        claims: paths::claims(&case),
        worker_logs: paths::worker_logs(session),
        findings,
        losses: losses(session, flows),
        lost_bytes: lost_bytes(session, flows),
        capture: None,
    };
    (report, case)
}

/// The target's processes in order of their start.
fn processes(session: &Session, stdio_of_interest: &[i32]) -> Vec<Process> {
    let targets = session.processes.values().filter(|process| process.is_target);
    let mut processes: Vec<Process> =
        targets.map(|known| process::process(session, known, stdio_of_interest)).collect();
    processes.sort_by(|a, b| a.start_ms.total_cmp(&b.start_ms));
    processes
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
