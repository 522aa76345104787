//! Owns the session: applies events, and takes rows of ended processes out of the kernel.

mod recorder;
mod restore;

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use tracer_common::{
    id::ProcessId,
    ledger::{LedgerKey, LedgerRow},
    loss::{LossCell, Reason},
    process::ROLE_TARGET,
};
use tracer_core::{
    event::{self, Event, EventKind, Image},
    recording::{Loss, Row},
    session::{Keep, LossReason, Session, Sightings, Target},
};
use tracer_loader::{Loader, LoaderError, RawRecord};

use super::{
    handover::{Handover, Item, is_survey},
    lifetimes::Lifetimes,
    live::{Live, Scene, Sinks},
    live_targets::LiveTargets,
    memory::MemoryLimit,
    record::Recording,
};
use crate::{
    gvisor::is_sandbox_name,
    observe::{self, LogReader, Lookout, Request},
    sys::processes::exists,
};

/// Applies events to the session.
pub(super) struct Collector {
    pub(super) session: Session,
    /// Gets every event that the session gets.
    pub(super) recording: Recording,
    /// Gets what the next recorder cannot learn from the kernel.
    handover: Handover,
    live: Live,
    lifetimes: Lifetimes,
    sightings: Sightings,
    memory: MemoryLimit,
    live_targets: LiveTargets,
    /// Whether the last target has ended since the last call of [`Collector::last_target_ended`].
    last_ended: bool,
    undecodable: u64,
    new_objects: bool,
    /// Looks at what no event tells.
    lookout: Lookout,
    /// Targets with the name of a gVisor sandbox that have started since the last call of
    /// [`Collector::new_sandboxes`].
    new_sandboxes: Vec<ProcessId>,
    /// Targets that have a new image since the last call of [`Collector::new_targets`].
    new_targets: Vec<(ProcessId, u32)>,
    /// Whether the daemon asks for them.
    keeps_new_targets: bool,
    /// Processes that were not there at the latest check, although their end was not reported.
    missing: BTreeSet<ProcessId>,
    /// Whether targets that are adopted now have run before without being seen.
    pub(super) adopts_late: bool,
}

impl Collector {
    pub(super) fn new(
        live: Sinks,
        recording: Recording,
        memory: MemoryLimit,
        lookout: Lookout,
    ) -> Self {
        Self {
            session: Session::default(),
            recording,
            handover: Handover::default(),
            live: Live::new(live),
            lifetimes: Lifetimes::default(),
            sightings: Sightings::default(),
            memory,
            live_targets: LiveTargets::default(),
            last_ended: false,
            undecodable: 0,
            new_objects: false,
            lookout,
            new_sandboxes: Vec::new(),
            new_targets: Vec::new(),
            keeps_new_targets: false,
            missing: BTreeSet::new(),
            adopts_late: false,
        }
    }

    /// Every hook is attached: the trace begins.
    pub(super) fn begin(
        &mut self,
        target: &Target,
        start: Timestamp,
        start_ns: u64,
        stdio_of_interest: &[i32],
    ) {
        self.session.start_ns = start_ns;
        self.live.begin();
        self.recording.begin(target, start, start_ns, stdio_of_interest);
    }

    /// tracer itself started this process.
    pub(super) fn started_here(&mut self, tgid: u32) {
        self.session.started_here(tgid);
        self.recording.started_here(tgid);
    }

    /// A new survey of holders begins. It covers all objects that are known so far.
    pub(super) fn begin_survey(&mut self, keep: Keep) {
        self.new_objects = false;
        self.sightings.begin(keep);
        if keep == Keep::All {
            self.session.begin_survey();
            self.recording.begin_survey();
        }
    }

    /// All records of the survey were applied.
    pub(super) fn end_survey(&mut self) {
        for look in self.sightings.end() {
            self.session.apply(&look);
            self.handover.observed(&look);
            self.recording.event(&look);
        }
    }

    /// Applies a batch of records.
    pub(super) fn take(&mut self, batch: &[RawRecord], loader: &mut Loader) {
        for record in batch {
            match event::decode(record) {
                Ok(mut event) => {
                    if let EventKind::Image(image) = &mut event.kind {
                        image.late = self.adopts_late && !image.executed;
                        if image.late {
                            self.handover.keep(|| Item::Late(image.process));
                        }
                    }
                    self.apply(&event, loader);
                }
                Err(error) => {
                    self.undecodable += 1;
                    tracing::warn!("unreadable record from the kernel side: {error}");
                }
            }
        }
        self.look();
        self.recording.flush();
    }

    /// Applies what the helper processes have answered. Does not wait.
    pub(super) fn look(&mut self) {
        let seen = self.lookout.answers();
        self.observed(seen);
    }

    /// The same, and waits for what is open, but not for longer than this.
    pub(super) fn look_for(&mut self, at_most: Duration) {
        let seen = self.lookout.answers_by(Instant::now() + at_most, false);
        self.observed(seen);
    }

    /// Looks at the end in which calls threads are blocked.
    pub(super) fn look_at_threads(&mut self, at_most: Duration) {
        observe::ask_for_blocked_threads(&self.session, &mut self.lookout, true);
        self.look_at_end(at_most);
    }

    /// Looks at the end for the files that output went to.
    pub(super) fn look_at_files(&mut self, at_most: Duration) {
        observe::ask_for_files(&self.session, &mut self.lookout);
        self.look_at_end(at_most);
    }

    /// Reads the rest of logs: managers' logs and those of container engines.
    pub(super) fn look_at_logs(&mut self, at_most: Duration, logs: &mut LogReader) {
        logs.read_the_rest(at_most);
        observe::ask_for_engine_logs(&self.session, &mut self.lookout);
        self.look_at_end(at_most);
        let unseen = self.lookout.finish();
        self.observed(logs.finish().into_iter().chain(unseen));
    }

    fn look_at_end(&mut self, at_most: Duration) {
        let seen = self.lookout.answers_by(Instant::now() + at_most, true);
        self.observed(seen);
    }

    /// Whether an object that passes bytes on came under watch since the latest survey: its readers may be unknown.
    pub(super) fn wants_survey(&self) -> bool {
        self.new_objects
    }

    /// Whether the last known target has ended since the last call.
    pub(super) fn last_target_ended(&mut self) -> bool {
        std::mem::take(&mut self.last_ended)
    }

    /// Whether targets were seen and all of them have ended.
    pub(super) fn target_has_ended(&mut self) -> bool {
        let has_targets = self.session.processes.values().any(|process| process.is_target);
        has_targets && self.live_targets.are_gone(|id| exists(id.tgid))
    }

    fn apply(&mut self, event: &Event, loader: &mut Loader) {
        if !self.sightings.take(event) {
            return;
        }
        if let EventKind::Exit(exit) = &event.kind {
            // This comes before the session applies the exit, because the session then forgets what was open.
            for fd in self.session.known_ends(exit.process) {
                loader.forget_read_end(exit.process, fd);
            }
        }
        self.session.apply(event);
        if is_survey(event) {
            self.handover.observed(event);
        }
        self.memory.added();
        self.recording.event(event);
        self.lifetimes.event(event, &self.session);
        match &event.kind {
            EventKind::Fork { child, .. } => {
                self.live_targets.insert(*child);
            }
            EventKind::Image(image) => self.started(image),
            EventKind::Object { object, .. } => {
                self.new_objects |= self.session.object_kind(&object.id).passes_on();
            }
            EventKind::Exit(exit) => {
                let is_last = self.live_targets.ended(&exit.process);
                self.last_ended |= is_last;
                if is_last {
                    self.lifetimes.look_at_everything_next();
                }
                let rows = self.lifetimes.rows_of_ended(exit.process);
                self.reap(rows, loader);
            }
            _ => {}
        }
        self.live.event(event, &self.session);
    }

    /// A process has an image. The eBPF programs could not read the arguments of adopted processes, and arguments that are
    /// longer than a record.
    fn started(&mut self, image: &Image) {
        let is_target = is_of_target(image);
        if is_target {
            self.live_targets.insert(image.process);
            self.entered(image);
            if is_sandbox_name(&image.comm) {
                self.new_sandboxes.push(image.process);
            }
        }
        let arguments = !image.executed || image.argv.is_empty();
        if arguments || is_target {
            let process = image.process;
            self.lookout.ask(Request::Process { process, arguments, environment: is_target });
        }
    }

    fn entered(&mut self, image: &Image) {
        if self.keeps_new_targets {
            self.new_targets.push((image.process, image.cgroup));
        }
    }

    /// Targets with the name of a gVisor sandbox that have started since the last call.
    pub(super) fn new_sandboxes(&mut self) -> Vec<ProcessId> {
        std::mem::take(&mut self.new_sandboxes)
    }

    /// Applies what a gVisor sandbox told. No table of the kernel knows its processes.
    pub(super) fn take_guest(&mut self, output: &tracer_gvisor::Output) {
        for event in &output.events {
            self.session.apply(event);
            self.memory.added();
            self.recording.event(event);
            self.live.event(event, &self.session);
        }
        for (key, row) in &output.rows {
            self.add_row(*key, row);
        }
    }

    /// Counts what user space could not observe: what a sandbox did not tell, for example.
    pub(super) fn add_observed_loss(&mut self, reason: &LossReason, cell: LossCell) {
        self.recording.loss(reason, cell);
        self.handover.keep(|| Item::Loss(Loss { reason: reason.clone(), cell }));
        self.session.add_loss(reason.clone(), cell);
    }

    /// Applies what user space observed.
    pub(super) fn observed(&mut self, seen: impl IntoIterator<Item = EventKind>) {
        for kind in seen {
            let kind = match kind {
                EventKind::BlockedThread(thread) => {
                    EventKind::BlockedThread(observe::with_object(&self.session, &thread))
                }
                kind => kind,
            };
            let event = Event { time_ns: tracer_loader::boot_ns(), kind };
            self.session.apply(&event);
            self.recording.event(&event);
            self.handover.observed(&event);
        }
    }

    /// Tells how far the trace is, and what is known already, if it is time for that.
    pub(super) fn tell(&mut self, loader: &Loader) {
        self.live.look(Scene {
            session: &self.session,
            loader,
            lookout: &mut self.lookout,
            targets: &self.live_targets,
            lifetimes: &self.lifetimes,
        });
    }

    /// Takes ended entries out of the kernel's tables, so that they do not fill up in long runs.
    pub(super) fn sweep(&mut self, loader: &mut Loader) {
        let ended = self
            .lifetimes
            .look_at_everything(loader)
            .and_then(|()| self.lifetimes.sweep(loader, &self.session));
        match ended {
            Ok(rows) => self.reap(rows, loader),
            Err(error) => tracing::warn!("cannot take out what has ended: {error}"),
        }
        let lifetimes = &self.lifetimes;
        self.memory.keep_to(&mut self.session, |object| lifetimes.is_watched(object));
    }

    /// Takes rows that have ended out of the kernel.
    fn reap(&mut self, rows: impl IntoIterator<Item = LedgerKey>, loader: &mut Loader) {
        for key in rows {
            let keep = |row: &LedgerRow| self.handover.keep(|| Item::Row(Row { key, row: *row }));
            match loader.take_rows(&key, keep) {
                Ok(rows) => rows.iter().for_each(|row| self.add_row(key, row)),
                Err(error) => tracing::warn!("{error}"),
            }
        }
    }

    fn add_row(&mut self, key: LedgerKey, row: &LedgerRow) {
        self.session.add_row(key, row);
        self.memory.added();
        self.recording.row(key, row);
        self.live.row(&key, row, &self.session);
    }

    fn add_loss(&mut self, reason: Reason, cell: LossCell) {
        self.recording.loss(&reason.into(), cell);
        self.session.add_loss(reason.into(), cell);
    }

    /// Reads the rest of the ledger and the losses: the rows of processes that still live.
    pub(super) fn read_tables(
        &mut self,
        loader: &mut Loader,
        skipped: u64,
    ) -> Result<(), LoaderError> {
        for (key, row) in loader.rows()? {
            self.add_row(key, &row);
        }
        for (reason, cell) in loader.losses()? {
            self.add_loss(reason, cell);
        }
        let own = [(Reason::Undecodable, self.undecodable), (Reason::SkippedRuns, skipped)];
        for (reason, events) in own {
            self.add_loss(reason, LossCell { events, bytes: 0 });
        }
        Ok(())
    }

    /// The session is complete.
    pub(super) fn close(mut self) -> (Session, Recording) {
        self.session.join_sandboxes();
        self.recording.end(self.session.end_ns);
        (self.session, self.recording)
    }
}

/// Whether a process with this image is a target.
fn is_of_target(image: &Image) -> bool {
    image.role == ROLE_TARGET
}
