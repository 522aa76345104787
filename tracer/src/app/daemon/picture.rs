//! What a view of the recorder shows: the commands that run now, and the jobs that lost output lately.

use std::{collections::BTreeMap, sync::Arc};

use tracer_common::id::ProcessId;
use tracer_core::{
    session::{Session, Target},
    snapshot::Snapshot,
    text::redact::Redact,
    verdict::Severity,
};

use super::{
    entry::{is_lost, redact_texts},
    lost::LostJob,
    wire::{self, Answer},
};
use crate::{app::top::look, observe::Lookout, settings::DaemonSettings, top::RECORDER};

/// The fds in question.
const STREAMS: [i32; 2] = [1, 2];
/// The most commands of one job that lost output.
const MOST_ROWS: usize = 8;

/// What the main thread knows at one moment.
#[derive(Debug)]
pub(super) struct Sample {
    /// A copy of its session.
    pub(super) session: Session,
    /// The place of each process that has entered one.
    pub(super) names: BTreeMap<ProcessId, String>,
    /// The latest jobs that lost output, the oldest first.
    pub(super) lost: Vec<Arc<LostJob>>,
}

/// Makes answers of samples.
#[derive(Debug)]
pub(super) struct Painter {
    target: Target,
    redact: Option<Redact>,
    lookout: Lookout,
    /// The lost jobs that are described already.
    known: Vec<(Arc<LostJob>, Snapshot)>,
}

impl Painter {
    pub(super) fn new(settings: &DaemonSettings, lookout: Lookout) -> Self {
        let name = format!("tracer daemon {}", settings.scope());
        let target = Target { kind: RECORDER.to_owned(), name, ..Target::default() };
        Self { target, redact: settings.redact.clone(), lookout, known: Vec::new() }
    }

    /// The answer to a view, with its length.
    pub(super) fn answer(&mut self, sample: Sample) -> Vec<u8> {
        let mut snapshot = self.snapshot(sample);
        loop {
            let json = self.json(&snapshot);
            if let Some(answer) = wire::framed(&json) {
                return answer;
            }
            // Names are bounded, so that few rows always fit.
            let half = snapshot.rows.len().div_ceil(2);
            snapshot.rows.drain(..half);
            snapshot.more_rows += half as u64;
            snapshot.findings.truncate(half);
            snapshot.objects.clear();
            snapshot.hops.clear();
        }
    }

    fn json(&self, snapshot: &Snapshot) -> Vec<u8> {
        let version = env!("CARGO_PKG_VERSION").to_owned();
        let answer = Answer { version, snapshot: snapshot.clone() };
        let Some(redact) = &self.redact else {
            return serde_json::to_vec(&answer).unwrap_or_default();
        };
        let mut value = serde_json::to_value(&answer).unwrap_or_default();
        redact_texts(redact, &mut value);
        serde_json::to_vec(&value).unwrap_or_default()
    }

    fn snapshot(&mut self, Sample { mut session, names, lost }: Sample) -> Snapshot {
        look(&mut session, &mut self.lookout);
        session.join_sandboxes();
        let mut snapshot = Snapshot::of(&session, &self.target, &STREAMS, false);
        for row in &mut snapshot.rows {
            let line = session.processes.get(&row.id).into_iter();
            let mut line = line.flat_map(|process| session.line_of(process));
            row.place = line.find_map(|process| names.get(&process.id).cloned());
        }
        self.known.retain(|(known, _)| lost.iter().any(|job| Arc::ptr_eq(job, known)));
        for job in lost {
            if !self.known.iter().any(|(known, _)| Arc::ptr_eq(&job, known)) {
                let described = describe(&job, &self.target);
                self.known.push((job, described));
            }
        }
        // Output that is lost now is told first.
        let loses = snapshot.findings.iter().any(|finding| finding.severity == Severity::Loss);
        if let Some((_, latest)) = self.known.last().filter(|_| !loses) {
            snapshot.verdict.clone_from(&latest.verdict);
        }
        self.known.iter().for_each(|(_, job)| add(&mut snapshot, job));
        snapshot.findings.sort_by_key(|finding| finding.severity);
        snapshot
    }
}

/// A job that lost output: the commands that did.
fn describe(job: &LostJob, target: &Target) -> Snapshot {
    let mut snapshot = Snapshot::of(&job.part, target, &STREAMS, true);
    snapshot.findings.retain(is_lost);
    let is_named =
        |pid: u32| pid != 0 && snapshot.findings.iter().any(|finding| finding.pid == pid);
    let mut rows = std::mem::take(&mut snapshot.rows);
    rows.retain(|row| row.severity != Severity::Info || is_named(row.command.pid));
    rows.truncate(MOST_ROWS);
    for row in &mut rows {
        // What is above it may not be shown.
        (row.above, row.place) = (None, Some(job.place.clone()));
    }
    snapshot.verdict = format!("{}: {}", job.place, snapshot.verdict);
    Snapshot { rows, ..snapshot }
}

/// Adds a job that lost output to what runs.
fn add(snapshot: &mut Snapshot, job: &Snapshot) {
    for bytes in job.rows.iter().flat_map(|row| &row.streams) {
        snapshot.totals.bytes.add(bytes);
    }
    snapshot.rows.extend(job.rows.iter().cloned());
    snapshot.findings.extend(job.findings.iter().cloned());
    snapshot.hops.extend(job.hops.iter().cloned());
    for (id, object) in &job.objects {
        snapshot.objects.entry(id.clone()).or_insert_with(|| object.clone());
    }
}
