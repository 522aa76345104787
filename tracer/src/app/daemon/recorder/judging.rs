//! From a job that is due to its entry in the history: when it is judged, and with what.

use std::{collections::BTreeMap, time::Instant};

use tracer_common::object::ObjectId;
use tracer_core::session::{Job, Kind, Parts, Session};
use tracer_history::Entry;
use tracer_loader::{Loader, LoaderError, boot_ns};

use super::Recorder;
use crate::app::{
    collect::Collector,
    daemon::{lost::LostJob, places::Places},
};

/// How long a reader may take to read what an ended job has written. Then the job is judged with what is unread.
const READERS_MAY_TAKE_NS: u64 = 60_000_000_000;
/// How many jobs are judged at a time.
const MOST_AT_ONCE: usize = 256;
/// How long helper processes may take to look at the files of a job.
const FILES_TAKE_NS: u64 = 200_000_000;
/// How long a job waits for them if they still look at something of it.
const FILES_MAY_TAKE_NS: u64 = 10_000_000_000;
/// A job that runs for longer than this gets an interim entry each time.
const INTERIM_NS: u64 = 3_600_000_000_000;

/// A job that is not judged yet.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// When helper processes were asked to look at its files, nanoseconds since boot.
    asked_ns: Option<u64>,
    /// What had been written to its files then.
    written: BTreeMap<ObjectId, u64>,
    /// When its latest interim entry was written, nanoseconds since boot.
    interim_ns: Option<u64>,
}

/// What a look at a job leads to.
enum Look {
    /// The job is not ready: the recorder looks at it again.
    Waits,
    /// Helper processes are to look at the files of this part first.
    WantsFiles(Box<Session>),
    /// The job is in the history.
    Done,
}

/// Which entries of a job are wanted now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Only one with a loss: a thread is blocked for long, which may be how the program works.
    Loss,
    /// Every entry.
    Any,
}

impl Recorder<'_> {
    /// Judges the jobs that are due, and forgets those that have ended.
    pub(super) fn judge(
        &mut self,
        loader: &mut Loader,
        collector: &mut Collector,
        places: &mut Places,
    ) -> Result<(), LoaderError> {
        let (began, now_ns) = (Instant::now(), boot_ns());
        let mut due = collector.session.jobs();
        due.retain(|job| self.is_due(job, now_ns));
        if !due.is_empty() {
            let rows = loader.rows()?;
            let took = began.elapsed();
            // Jobs that wait for a reader or a disk are looked at again and again, and the others have their turn too.
            let number = due.len().max(1);
            due.rotate_left(self.turn % number);
            let parts = Parts::of(&collector.session, &rows);
            let (mut done, mut with_files) = (Vec::new(), Vec::new());
            self.turn = self.turn.wrapping_add(number.min(MOST_AT_ONCE));
            for job in due.into_iter().take(MOST_AT_ONCE) {
                match self.look_at(&job, parts.part(&job), now_ns, collector, places) {
                    Look::Waits => {}
                    Look::WantsFiles(part) => with_files.push(part),
                    Look::Done => done.push(job),
                }
            }
            let has_progress = !done.is_empty() || !with_files.is_empty();
            self.is_behind = number > MOST_AT_ONCE && has_progress;
            with_files.iter().for_each(|part| collector.ask_for_files(part));
            done.iter().for_each(|job| places.leaves(job, &collector.session));
            collector.forget(&done);
            self.pace.took(took, Instant::now());
        } else {
            self.is_behind = false;
        }
        self.known.retain(|root, _| collector.session.processes.contains_key(root));
        places.retain(&collector.session);
        self.tails.retain(&collector.session);
        Ok(())
    }

    /// Whether a job has ended, or gets an interim entry: it runs for long, or hangs.
    fn is_due(&self, job: &Job, now_ns: u64) -> bool {
        match job.ended_ns {
            Some(_) => job.has_settled(now_ns),
            None => self.runs_for_long(job, now_ns) || self.hung.may_hang(job),
        }
    }

    /// Whether a job has run for long since its start, or since its latest interim entry.
    fn runs_for_long(&self, job: &Job, now_ns: u64) -> bool {
        let since_ns = self.told_ns(job).unwrap_or_else(|| self.entries.began_ns(job.root));
        since_ns.saturating_add(INTERIM_NS) <= now_ns
    }

    /// When the latest interim entry of a job was written, nanoseconds since boot.
    pub(super) fn told_ns(&self, job: &Job) -> Option<u64> {
        self.known.get(&job.root)?.interim_ns
    }

    /// Judges a job that has ended, unless its output is still on its way or its files are being looked at, or one that
    /// runs on.
    fn look_at(
        &mut self,
        job: &Job,
        mut part: Session,
        now_ns: u64,
        collector: &Collector,
        places: &Places,
    ) -> Look {
        let Some(ended_ns) = job.ended_ns else {
            self.look_at_running(job, part, now_ns, &collector.session, places);
            return Look::Waits;
        };
        let is_late = ended_ns + READERS_MAY_TAKE_NS <= now_ns;
        let has_arrived = || {
            self.tails.has_taken(ended_ns)
                && part.is_drained(job, |object| collector.is_watched(object))
        };
        if !is_late && !has_arrived() {
            return Look::Waits;
        }
        let known = self.known.entry(job.root).or_default();
        let has_files = || part.objects.values().any(|object| object.kind == Kind::File);
        match known.asked_ns {
            None if has_files() => {
                known.asked_ns = Some(now_ns);
                known.written = part.written_to_files();
                return Look::WantsFiles(part.into());
            }
            Some(asked_ns) if asked_ns + FILES_TAKE_NS > now_ns => return Look::Waits,
            Some(asked_ns)
                if asked_ns + FILES_MAY_TAKE_NS > now_ns && collector.looks_at(job, &part) =>
            {
                return Look::Waits;
            }
            _ => {}
        }
        if known.asked_ns.is_some() {
            part.files_were_asked_for(&known.written);
        }
        part.end_ns = ended_ns;
        self.write(job, part, &collector.session, places, Wanted::Any);
        Look::Done
    }

    /// Writes an interim entry, if a job has moved bytes or hangs.
    fn look_at_running(
        &mut self,
        job: &Job,
        mut part: Session,
        now_ns: u64,
        whole: &Session,
        places: &Places,
    ) {
        let is_time = self.runs_for_long(job, now_ns);
        let hangs = self.hung.hangs(job, &part, now_ns);
        let has_moved = has_moved(job, &part, self.told_ns(job));
        (part.blocked, part.end_ns) = (self.hung.threads_of(&part), now_ns);
        let is_told = match (is_time && has_moved, hangs) {
            (true, _) => self.write(job, part, whole, places, Wanted::Any),
            (false, true) => self.write(job, part, whole, places, Wanted::Loss),
            (false, false) => false,
        };
        if is_told || is_time {
            self.known.entry(job.root).or_default().interim_ns = Some(now_ns);
        }
    }

    /// Judges a part and writes its entry, if it is wanted. Returns whether it did.
    pub(super) fn write(
        &mut self,
        job: &Job,
        mut part: Session,
        whole: &Session,
        places: &Places,
        wanted: Wanted,
    ) -> bool {
        let began_ns = self.entries.began_ns(job.root);
        part.start_ns = began_ns;
        for (reason, cell) in self.losses.since(began_ns) {
            part.add_loss(reason, cell);
        }
        part.join_sandboxes();
        let place = places.of(job.root, whole);
        let is_told = !whole.is_of_gvisor(job) && !place.is_sandbox();
        let entry = is_told.then(|| self.entries.entry(job, &part, place, &self.tails)).flatten();
        if job.ended_ns.is_some() {
            self.tails.forget(&part, job);
        }
        let is_wanted = |entry: &Entry| wanted == Wanted::Any || entry.has_loss;
        let Some(entry) = entry.filter(is_wanted) else { return false };
        if entry.has_loss && !entry.is_interim {
            self.lost.add(LostJob::new(part, &entry));
        }
        self.receivers.entry(entry);
        true
    }
}

/// Whether a job has moved bytes, or tried to, since its latest interim entry: a service that is idle for hours needs no
/// entry for each.
pub(super) fn has_moved(job: &Job, part: &Session, told_ns: Option<u64>) -> bool {
    let mut rows = part.ledger.iter().filter(|(key, _)| job.members.contains(&key.process));
    rows.any(|(_, row)| told_ns.is_none_or(|told_ns| row.last_ns > told_ns))
}
