//! Finds jobs that have ended, has them judged, and writes them to the history.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use tracer_common::{id::ProcessId, loss::LossCell, object::ObjectId};
use tracer_core::session::{Job, Kind, LossReason, Parts, Process, Session};
use tracer_history::{Entry, Gap, Place, reason};
use tracer_loader::{Loader, LoaderError, boot_ns};
use tracer_reach::{Blocked, Status};

use super::{
    entry::{Clock, EntryMaker},
    hung::{self, Hung},
    losses::Losses,
    lost::{LostJob, LostJobs},
    places::Places,
    receivers::Receivers,
    tails::JobTails,
};
use crate::{
    app::{
        collect::Collector,
        handover::{Handover, Item},
        pace::Pace,
    },
    settings::DaemonSettings,
};

/// How often jobs are looked for.
const LOOK: Duration = Duration::from_millis(500);
/// How long a reader may take to read what an ended job has written. Then the job is judged with what is unread.
const READERS_MAY_TAKE_NS: u64 = 60_000_000_000;
/// The pause before the next look if there were more jobs than [`MOST_AT_ONCE`].
const SOON: Duration = Duration::from_millis(20);
/// How many jobs are judged at a time.
const MOST_AT_ONCE: usize = 256;
/// How long helper processes may take to look at the files of a job.
const FILES_TAKE_NS: u64 = 200_000_000;
/// How long a job waits for them if they still look at something of it.
const FILES_MAY_TAKE_NS: u64 = 10_000_000_000;
/// A job that runs for longer than this gets an interim entry each time.
const INTERIM_NS: u64 = 3_600_000_000_000;
/// How often the history is told that the recorder is there.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// How often it is checked whether processes are still there whose end was not reported.
const CHECK_PROCESSES: Duration = Duration::from_secs(10);

/// A job that is not judged yet.
#[derive(Debug, Default)]
struct Known {
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
enum Wanted {
    /// Only one with a loss: a thread is blocked for long, which may be how the program works.
    Loss,
    /// Every entry.
    Any,
}

/// Jobs on their way into the history.
pub(super) struct Recorder<'a> {
    receivers: Receivers<'a>,
    entries: EntryMaker,
    losses: Losses,
    tails: JobTails,
    /// Jobs that lost output, for views.
    lost: LostJobs,
    /// By first process.
    known: BTreeMap<ProcessId, Known>,
    next_look: Instant,
    /// How many jobs were looked at so far.
    turn: usize,
    /// Whether there were more of them than were looked at.
    is_behind: bool,
    next_heartbeat: Instant,
    next_check: Instant,
    hung: Hung,
    /// Gets what the next recorder must know.
    handover: Handover,
    /// Keeps the reading of the ledger to a small part of the time.
    pace: Pace,
}

impl<'a> Recorder<'a> {
    /// A recorder that was attached at `attached_ns`, nanoseconds since boot.
    pub(super) fn new(
        settings: &DaemonSettings,
        receivers: Receivers<'a>,
        tails: JobTails,
        handover: Handover,
        attached_ns: u64,
    ) -> Self {
        let now = Instant::now();
        Self {
            receivers,
            entries: EntryMaker::new(settings, attached_ns),
            losses: Losses::default(),
            tails,
            lost: LostJobs::default(),
            known: BTreeMap::new(),
            next_look: now,
            turn: 0,
            is_behind: false,
            next_heartbeat: now,
            next_check: now + CHECK_PROCESSES,
            hung: Hung::new(now),
            handover,
            pace: Pace::new(now),
        }
    }

    /// Takes over what an earlier recorder has told the history about losses.
    pub(super) fn restore(&mut self, items: &[Item]) {
        for item in items {
            if let Item::Losses(at_ns, totals) = item {
                self.losses.restore(*at_ns, totals);
            }
        }
    }

    /// When the record of a job begins, in µs since 1970.
    pub(super) fn began_us(&self, job: &Job) -> i64 {
        Clock::now().us(self.entries.began_ns(job.root))
    }

    /// Counts events that tracer did not see, and tells the receivers the reason.
    pub(super) fn missed(&mut self, reason: &str, events: u64) {
        let now_us = Clock::now().us(boot_ns());
        let gap = Gap {
            from_us: now_us,
            until_us: now_us,
            reason: reason.to_owned(),
            events,
            ..Gap::default()
        };
        self.receivers.gap(gap);
    }

    /// Judges jobs that have ended, if it is time for that.
    pub(super) fn turn(
        &mut self,
        loader: &mut Loader,
        collector: &mut Collector,
        places: &mut Places,
    ) {
        let now = Instant::now();
        if now >= self.next_heartbeat {
            self.next_heartbeat = now + HEARTBEAT;
            let lost_jobs = collector.lost_jobs();
            if lost_jobs > 0 {
                self.missed(reason::JOBS_FULL, lost_jobs);
            }
            let clock = Clock::now();
            let status = || self.status(&collector.session, places, &clock);
            self.receivers.alive(clock.us(boot_ns()), status);
            let gaps = self.losses.new_gaps(loader, &collector.session, &clock);
            if !gaps.is_empty() {
                self.handover.losses(boot_ns(), self.losses.totals());
            }
            gaps.into_iter().for_each(|gap| self.receivers.gap(gap));
            self.handover.turn(&collector.session, || places.items());
        }
        if now >= self.next_check {
            self.next_check = now + CHECK_PROCESSES;
            collector.find_vanished();
        }
        self.hung.look(collector, now, boot_ns());
        // Jobs that wait to be judged take memory, and each look at them takes longer the more there are.
        if now >= self.next_look && (self.is_behind || self.pace.allows(now)) {
            collector.note_unseen();
            let done = self.judge(loader, collector, places);
            self.next_look = now + if self.is_behind { SOON } else { LOOK };
            done.unwrap_or_else(|error| tracing::warn!("cannot read the counts: {error}"));
        }
    }

    /// How the recorder is now.
    fn status(&self, session: &Session, places: &Places, clock: &Clock) -> Status {
        let runs = |process: &&Process| process.is_target && process.end_ns.is_none();
        let mut blocked: HashMap<Place, Blocked> = HashMap::new();
        for (process, lasts) in self.hung.writers() {
            let place = places.of(process, session);
            let known = blocked.entry(place.clone());
            let at = known.or_insert_with(|| Blocked { place, ..Blocked::default() });
            (at.writers, at.longest) = (at.writers + 1, at.longest.max(lasts));
        }
        Status {
            attached_us: Some(clock.us(self.entries.attached_ns())),
            running: session.processes.values().filter(runs).count() as u64,
            memory: session.memory(),
            blocked: blocked.into_values().collect(),
            ..Status::default()
        }
    }

    fn judge(
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
    fn told_ns(&self, job: &Job) -> Option<u64> {
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
    fn write(
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

    /// The latest jobs that lost output.
    pub(super) fn lost(&mut self) -> Vec<Arc<LostJob>> {
        self.lost.latest(Clock::now().us(boot_ns()))
    }

    /// What was not recorded since this time, nanoseconds since boot.
    pub(super) fn losses_since(
        &self,
        from_ns: u64,
    ) -> impl Iterator<Item = (LossReason, LossCell)> {
        self.losses.since(from_ns)
    }

    /// Judges what has ended, and writes an interim entry for what still runs.
    pub(super) fn finish(
        &mut self,
        loader: &mut Loader,
        collector: &mut Collector,
        places: &Places,
    ) {
        self.tails.catch_up();
        let rows = loader.rows().unwrap_or_default();
        let now_ns = boot_ns();
        for gap in self.losses.new_gaps(loader, &collector.session, &Clock::now()) {
            self.receivers.gap(gap);
        }
        let parts = Parts::of(&collector.session, &rows);
        for job in collector.session.jobs() {
            let mut part = parts.part(&job);
            part.end_ns = job.ended_ns.unwrap_or(now_ns);
            let has_moved = || has_moved(&job, &part, self.told_ns(&job));
            let may_hang = || {
                part.blocked.iter().any(|it| job.members.contains(&it.process) && hung::waits(it))
            };
            // Those that have ended are judged by the next recorder, if there will be one.
            let is_left = job.ended_ns.is_some() && self.handover.is_kept();
            if !is_left && (job.ended_ns.is_some() || has_moved() || may_hang()) {
                self.write(&job, part, &collector.session, places, Wanted::Any);
            }
        }
    }
}

/// Whether a job has moved bytes, or tried to, since its latest interim entry: a service that is idle for hours needs no
/// entry for each.
fn has_moved(job: &Job, part: &Session, told_ns: Option<u64>) -> bool {
    let mut rows = part.ledger.iter().filter(|(key, _)| job.members.contains(&key.process));
    rows.any(|(_, row)| told_ns.is_none_or(|told_ns| row.last_ns > told_ns))
}
