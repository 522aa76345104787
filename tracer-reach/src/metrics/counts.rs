//! All metrics, and how entries, gaps and the state of the daemon change them.

mod register;

use std::{
    collections::BTreeMap,
    fmt,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use prometheus_client::{
    encoding::{prometheus_text, text},
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};
use tracer_history::{Entry, Fate, Finding, Gap, confidence, outcome, rule};

use super::{
    About,
    jobs::{Added, Bytes, Jobs, Key, Route},
    labels::{OfCommand, OfFinding, OfLoss, OfPlace, OfReason, OfStream},
    own::Own,
    places::{Places, Series},
    table::Table,
    workload::Where,
};
use crate::Status;

/// What the daemon says of a command.
#[derive(Debug)]
pub(super) struct Told {
    key: Key,
    is_interim: bool,
    place: Where,
    routes: BTreeMap<Route, Bytes>,
    findings: Vec<Finding>,
    result: &'static str,
    is_complete: bool,
}

impl Told {
    /// What counts of an entry.
    pub(super) fn of(entry: &Entry) -> Self {
        let mut routes: BTreeMap<Route, Bytes> = BTreeMap::new();
        for stream in &entry.streams {
            let mut hasher = DefaultHasher::new();
            stream.destination.hash(&mut hasher);
            let route = Route { fd: stream.fd, destination: hasher.finish() };
            let unknown = || Fate { unknown: stream.bytes, ..Fate::default() };
            let fate = stream.fate.unwrap_or_else(unknown);
            let sum = routes.entry(route).or_default();
            let rule = rule_of(&stream.outcome);
            *sum = sum.plus(&Bytes { written: stream.bytes, fate, rule });
        }
        Self {
            key: (entry.pid, entry.started_ns),
            is_interim: entry.is_interim,
            place: Where::of(&entry.place),
            routes,
            findings: entry.findings.clone(),
            result: match (entry.exit_code, entry.signal) {
                (Some(0), _) => "succeeded",
                (Some(_), _) => "failed",
                (None, Some(_)) => "killed",
                (None, None) => "unknown",
            },
            is_complete: entry.confidence == confidence::CERTAIN,
        }
    }
}

/// The rule under which a loss counts. What was left in a pipe whose writer was refused or blocked was not read.
fn rule_of(outcome: &str) -> &'static str {
    match outcome {
        outcome::REMOVED | outcome::OVERWRITTEN | outcome::CUT => rule::FILE_LOST,
        _ => rule::UNREAD,
    }
}

/// Series by place and stream.
#[derive(Default)]
struct Streams {
    written: Table<OfStream>,
    delivered: Table<OfStream>,
    discarded: Table<OfStream>,
    unknown: Table<OfStream>,
    refused: Table<OfStream>,
    lost: Table<OfLoss>,
}

/// The state of the recorder.
#[derive(Default)]
struct State {
    recording: Gauge,
    start: Gauge<f64, AtomicU64>,
    heartbeat: Gauge<f64, AtomicU64>,
    processes: Gauge<u64, AtomicU64>,
    session: Gauge<u64, AtomicU64>,
    blocked: Family<OfPlace, Gauge<u64, AtomicU64>>,
    blocked_seconds: Family<OfPlace, Gauge<f64, AtomicU64>>,
}

/// The history.
#[derive(Default)]
struct History {
    size: Gauge<u64, AtomicU64>,
    limit: Gauge<u64, AtomicU64>,
    oldest: Gauge<f64, AtomicU64>,
    entries: Counter,
    missed: Table<OfReason>,
}

/// What was not counted, or not by its own name.
#[derive(Default)]
struct Missing {
    gaps: Table<OfReason>,
    losses: Table<OfReason>,
    bytes: Table<OfReason>,
    dropped: Counter,
    folded: Counter,
    places: Gauge<u64, AtomicU64>,
}

/// All metrics.
pub(super) struct Counts {
    registry: Registry,
    /// The process itself: the names of these metrics have no prefix.
    process: Registry,
    streams: Streams,
    findings: Table<OfFinding>,
    commands: Table<OfCommand>,
    incomplete: Table<OfPlace>,
    state: State,
    history: History,
    missing: Missing,
    jobs: Jobs,
    places: Places,
    /// What the daemon could not hand over.
    dropped: Arc<AtomicU64>,
}

impl Counts {
    pub(super) fn new(about: &About, dropped: Arc<AtomicU64>) -> Self {
        let mut counts = Self {
            registry: Registry::with_prefix("tracer"),
            process: Registry::default(),
            streams: Streams::default(),
            findings: Table::default(),
            commands: Table::default(),
            incomplete: Table::default(),
            state: State::default(),
            history: History::default(),
            missing: Missing::default(),
            jobs: Jobs::default(),
            places: Places::default(),
            dropped,
        };
        counts.process.register_collector(Box::new(Own::new()));
        counts.register_commands();
        counts.register_recorder(about);
        // An increase from nothing is seen only if there was a 0 before.
        for reason in &about.reasons {
            counts.missing.losses.add(&OfReason { reason: reason.clone() }, 0);
        }
        counts
    }

    /// The place under whose names something is counted.
    fn place(&mut self, place: &Where) -> Where {
        match self.places.meet(place, Instant::now()) {
            Series::Own => place.clone(),
            Series::Shared => Where::other(),
            Series::InsteadOf(gone) => {
                self.forget(&gone);
                place.clone()
            }
        }
    }

    fn forget(&self, gone: &Where) {
        let Streams { written, delivered, discarded, unknown, refused, lost } = &self.streams;
        for table in [written, delivered, discarded, unknown, refused] {
            table.remove(|labels| labels.is_of(gone));
        }
        lost.remove(|labels| labels.is_of(gone));
        self.findings.remove(|labels| labels.is_of(gone));
        self.commands.remove(|labels| labels.is_of(gone));
        self.incomplete.remove(|labels| labels.is_of(gone));
    }

    /// Counts a command.
    pub(super) fn entry(&mut self, told: Told) {
        let Told { key, is_interim, place, routes, findings, result, is_complete } = told;
        let (own, place) = (&place, self.place(&place));
        self.missing.folded.inc_by(u64::from(*own != place));
        let Added::Counts { bytes, findings } = self.jobs.add(key, is_interim, routes, &findings)
        else {
            return;
        };
        for (route, new) in &bytes {
            self.streams.add(&place, route, new);
        }
        for finding in findings {
            self.findings.add(&OfFinding::of(&place, finding), 1);
        }
        if !is_interim {
            self.commands.add(&OfCommand::of(&place, result), 1);
            if !is_complete {
                self.incomplete.add(&OfPlace::of(&place), 1);
            }
        }
    }

    /// Counts a gap.
    pub(super) fn gap(&self, gap: &Gap) {
        let missing = &self.missing;
        let labels = OfReason { reason: gap.reason.clone() };
        missing.gaps.add(&labels, 1);
        missing.losses.add(&labels, gap.events);
        missing.bytes.add(&labels, gap.bytes);
    }

    /// Takes the state of the daemon.
    pub(super) fn status(&mut self, status: &Status) {
        let state = &self.state;
        state.recording.set(i64::from(status.attached_us.is_some()));
        state.start.set(status.attached_us.map_or(0.0, seconds));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        state.heartbeat.set(now.as_secs_f64());
        state.processes.set(status.running);
        state.session.set(status.memory);
        self.history.set(&status.history);
        state.blocked.clear();
        state.blocked_seconds.clear();
        for blocked in &status.blocked {
            let labels = OfPlace::of(&self.place(&Where::of(&blocked.place)));
            let state = &self.state;
            state.blocked.get_or_create(&labels).inc_by(blocked.writers);
            let longest = state.blocked_seconds.get_or_create(&labels);
            longest.set(longest.get().max(blocked.longest.as_secs_f64()));
        }
    }

    /// All metrics as text: in the format of OpenMetrics, or in the older one of Prometheus.
    pub(super) fn text(&self, is_open: bool) -> Result<String, fmt::Error> {
        let missing = &self.missing;
        missing.places.set(self.places.len() as u64);
        missing.dropped.inner().store(self.dropped.load(Ordering::Relaxed), Ordering::Relaxed);
        let mut text = String::new();
        if is_open {
            text::encode_registry(&mut text, &self.registry)?;
            text::encode_registry(&mut text, &self.process)?;
            text::encode_eof(&mut text)?;
        } else {
            prometheus_text::encode(&mut text, &self.registry)?;
            prometheus_text::encode(&mut text, &self.process)?;
        }
        Ok(text)
    }
}

impl Streams {
    /// Adds what is new. A loss and a refusal are told from 0 on, because an increase is seen only from one scrape to
    /// the next.
    fn add(&self, place: &Where, route: &Route, new: &Bytes) {
        let Fate { delivered, lost, discarded, unknown, refused } = new.fate;
        if *new == (Bytes { rule: new.rule, ..Bytes::default() }) {
            return;
        }
        let stream = if route.fd == 1 { "stdout" } else { "stderr" };
        let labels = OfStream::of(place, stream);
        for (table, more) in [
            (&self.written, new.written),
            (&self.delivered, delivered),
            (&self.discarded, discarded),
            (&self.unknown, unknown),
        ] {
            if more > 0 {
                table.add(&labels, more);
            }
        }
        self.refused.add(&labels, refused);
        self.lost.add(&OfLoss::of(place, stream, new.rule), lost);
    }
}

impl History {
    fn set(&self, stand: &tracer_history::Stand) {
        self.size.set(stand.bytes);
        self.limit.set(stand.limit);
        self.oldest.set(stand.oldest_us.map_or(0.0, seconds));
        self.entries.inner().store(stand.entries, Ordering::Relaxed);
        for (reason, events) in &stand.missed {
            self.missed.set(OfReason { reason: (*reason).to_owned() }, *events);
        }
    }
}

/// Seconds, of microseconds.
fn seconds(us: i64) -> f64 {
    us as f64 / 1e6
}
