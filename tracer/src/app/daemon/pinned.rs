//! `--pinned`: programs and maps stay attached when the recorder ends, and the next one goes on with them.

use std::{
    fs,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use tracer_core::session::Job;
use tracer_history::{Filter, Reader, Writer, reason};
use tracer_loader::{EventRing, KernelSettings, Loader, unpin};

use crate::{
    app::{
        AppError,
        handover::{self, Begun, Handover, Item},
    },
    scope::Wanted,
    settings::DaemonSettings,
    sys::{
        privileges::{self, Rights},
        run_folder,
    },
};

/// Below this folder of bpffs are the pins of each recorder.
const PINS: &str = "/sys/fs/bpf/tracer";
/// Entries whose beginnings differ by less are those of one command: the clock may have been corrected in between, µs.
const SAME_US: i64 = 100_000;
/// How many of the latest entries are looked at.
const LATEST: usize = 4_096;

/// The programs, and what an earlier recorder has left.
pub(super) struct Left {
    pub(super) loader: Loader,
    /// Where this recorder keeps what it knows.
    pub(super) handover: Handover,
    /// What the earlier one kept; empty if there was none.
    pub(super) items: Vec<Item>,
    /// Whether programs were attached that this one cannot go on with.
    was_replaced: bool,
}

impl Left {
    /// Loads the programs, or adopts them. Detaches those that an earlier recorder left, if this one does not go on with
    /// them. The caller holds the history's lock.
    pub(super) fn load(
        settings: &DaemonSettings,
        kernel: &mut KernelSettings,
    ) -> Result<Self, AppError> {
        let failed = |source| AppError::Runtime { source };
        let pins = pins_of(&settings.history)?;
        let log = settings.pinned.then(|| run_folder::log_of(&settings.history));
        let log = log.transpose().map_err(failed)?;
        let mut items = log.as_deref().map(handover::left_at).unwrap_or_default();
        let was_there = has_programs(&pins);
        if items.is_empty() {
            unpin(&pins)?;
        }
        kernel.pins = settings.pinned.then_some(pins);
        let loader = Loader::load(kernel)?;
        if !loader.is_adopted() {
            items.clear();
        }
        let handover = log.map(|log| Handover::open(&log, &items)).transpose().map_err(failed)?;
        let handover = handover.unwrap_or_default();
        let was_replaced = was_there && !loader.is_adopted();
        Ok(Self { loader, handover, items, was_replaced })
    }

    /// How the recorder began that this one goes on with.
    pub(super) fn begun(&self) -> Option<&Begun> {
        self.items.iter().find_map(|item| match item {
            Item::Begun(begun) => Some(begun),
            _ => None,
        })
    }

    /// Has each record kept before it leaves the ring.
    pub(super) fn keep_records(&self, events: &mut EventRing) {
        if self.handover.is_kept() {
            let handover = self.handover.clone();
            events.keep_by(Box::new(move |record| handover.record(record)));
        }
    }

    /// Tells the history since when this recorder is attached, and the log how it began.
    pub(super) fn attached(
        &self,
        settings: &DaemonSettings,
        history: &Writer,
        start: Timestamp,
        start_ns: u64,
    ) {
        let (scope, at_us) = (settings.scope(), Timestamp::now().as_microsecond());
        match self.begun() {
            // A container that came and went in between was in no map.
            Some(_) => {
                let missed = (settings.wanted != Wanted::All).then_some(reason::CONTAINERS_MISSED);
                history.resumed(&scope, at_us, missed);
            }
            None if self.was_replaced => {
                history.attached_because(&scope, at_us, reason::VERSION_CHANGED);
            }
            None => history.attached(&scope, start.as_microsecond()),
        }
        if self.items.is_empty() {
            self.handover.keep(|| Item::Begun(Begun { start, start_ns }));
        }
    }
}

/// Jobs that the earlier recorder has given to the history, although its log does not say so. `began_us` is when a job
/// began, in µs since 1970.
pub(super) fn told(history: &Path, jobs: Vec<Job>, began_us: impl Fn(&Job) -> i64) -> Vec<Job> {
    if jobs.is_empty() {
        return jobs;
    }
    let Ok(reader) = Reader::open(history) else { return Vec::new() };
    let entries = reader.entries(&Filter::default(), LATEST);
    let is_told = |job: &Job| {
        let began_us = began_us(job);
        entries.iter().any(|entry| {
            !entry.is_interim
                && entry.pid == job.root.tgid
                && (entry.began_us - began_us).abs() < SAME_US
        })
    };
    jobs.into_iter().filter(is_told).collect()
}

/// Whether a recorder has left programs of any version.
fn has_programs(pins: &Path) -> bool {
    fs::read_dir(pins).is_ok_and(|mut entries| entries.next().is_some())
}

/// Detaches what the recorder of a history has left attached. Returns whether there was something.
///
/// # Errors
/// [`AppError`], also if that recorder runs.
pub fn detach(settings: &DaemonSettings) -> Result<bool, AppError> {
    // It holds the lock of the history.
    let history = Writer::start_on(&settings.history, settings.limits, |work| {
        privileges::spawn("history", Rights::None, work)
    })?;
    // A log without programs is of no use.
    let _ = run_folder::log_of(&settings.history).map(fs::remove_file);
    let was_attached = unpin(&pins_of(&settings.history)?)?;
    drop(history);
    Ok(was_attached)
}

/// The folder of bpffs for a history.
fn pins_of(history: &Path) -> Result<PathBuf, AppError> {
    let name = run_folder::recorder_of(history);
    Ok(Path::new(PINS).join(name.map_err(|source| AppError::Runtime { source })?))
}
