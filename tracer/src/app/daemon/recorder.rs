//! Finds jobs that have ended, has them judged, and writes them to the history.

mod judging;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use tracer_common::{id::ProcessId, loss::LossCell};
use tracer_core::session::{Job, LossReason, Parts, Process, Session};
use tracer_history::{Gap, Place, reason};
use tracer_loader::{Loader, boot_ns};
use tracer_reach::{Blocked, Status};

use self::judging::{Known, Wanted, has_moved};
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
/// The pause before the next look if more jobs were due than are looked at at a time.
const SOON: Duration = Duration::from_millis(20);
/// How often the history is told that the recorder is there.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// How often it is checked whether processes are still there whose end was not reported.
const CHECK_PROCESSES: Duration = Duration::from_secs(10);

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
