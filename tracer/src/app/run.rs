//! The part of a trace in which its hooks are attached.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use tracer_core::session::{Keep, Session};
use tracer_loader::{EventRing, KernelSettings, Loader, boot_ns};

use super::{
    AppError,
    attach::attach,
    begin::Observers,
    capture::Capturing,
    collect::Collector,
    end::End,
    guests::Guests,
    live::Sinks,
    memory::MemoryLimit,
    newcomer::Newcomer,
    old_calls::OldCalls,
    pace::Pace,
    progress::Attaching,
    record::Recording,
    signals::{Notice, Signals},
    subject::Subject,
    top,
};
use crate::{launch::Running, observe::LogReader, settings::Settings, target::PinnedProcess};

/// How often to check for the target's end if no event reports it.
pub(super) const TICK: Duration = Duration::from_millis(100);
/// How soon after the target's end to check its readers. Each later check comes after twice the time.
const SOON: Duration = Duration::from_millis(5);
/// For how long the report waits for each of these: what helper processes look at (blocked threads, then files, then
/// logs), sandboxes, and the engine that started a container. After a signal there is less time ([`End::look`]).
pub(super) const LOOK_AT_END: Duration = Duration::from_millis(500);
/// How long events are applied at a time, before signals and the clock are looked at. A tree can cause events faster than
/// tracer applies them.
const TURN: Duration = Duration::from_millis(100);

/// What is started before the programs are loaded.
pub(super) struct Started {
    /// Helper processes.
    pub(super) observers: Observers,
    pub(super) guests: Guests,
    /// Where live lines go.
    pub(super) live: Sinks,
    pub(super) recording: Recording,
}

/// A trace whose hooks are attached.
pub(super) struct Run {
    pub(super) loader: Loader,
    pub(super) events: EventRing,
    pub(super) collector: Collector,
    /// The gVisor sandboxes of the target.
    pub(super) guests: Guests,
    /// The container that the command has docker start.
    pub(super) newcomer: Newcomer,
    /// Directories of the target cgroups.
    pub(super) cgroups: Vec<PathBuf>,
    /// Managers' logs.
    pub(super) logs: LogReader,
    /// When the next survey may take place.
    pub(super) pace: Pace,
    /// When this first noticed that the target has ended.
    pub(super) over_since: Option<Instant>,
    /// Whether processes behind the first reader are traced. They need time to pass the output on.
    pub(super) settle: bool,
    /// Calls that began before fexit was attached.
    pub(super) old_calls: OldCalls,
    /// Shows the trace.
    pub(super) view: Option<top::Live>,
}

/// Loads the programs and attaches them. Returns the trace, and when it began.
pub(super) fn attached(
    settings: &Settings,
    kernel: &KernelSettings,
    subject: &mut Subject,
    Started { observers: Observers { lookout, mut logs }, guests, live, recording }: Started,
    capturing: Option<&mut Capturing>,
    attaching: &Attaching,
    signals: &mut Signals,
) -> Result<(Run, Timestamp), AppError> {
    let mut loader = Loader::load(kernel)?;
    signals.check()?;
    if kernel.debug_log {
        loader.start_debug_log()?;
    }
    let mut events = attaching.counts(loader.take_events()?);
    if let Some(capturing) = capturing {
        capturing.start(loader.take_capture()?)?;
    }
    let memory = MemoryLimit::new(settings.max_memory, subject.target.pids.clone());
    let mut collector = Collector::new(live, recording, memory, lookout);
    attach(&mut loader, &mut events, kernel, subject)?;
    let start = Timestamp::now();
    logs.trace_begins(i64::try_from(start.as_nanosecond()).unwrap_or(i64::MAX));
    collector.begin(&subject.target, start, boot_ns(), &settings.stdio_of_interest);
    let settle = kernel.follow_readers > 1 || !logs.is_empty();
    let newcomer = Newcomer::watch(subject)?;
    let run = Run::new(loader, events, collector, guests, logs);
    let run = Run { settle, newcomer, cgroups: subject.cgroups.clone(), ..run };
    Ok((run, start))
}

impl Run {
    /// A trace whose target is all that the kernel side follows.
    pub(super) fn new(
        loader: Loader,
        events: EventRing,
        collector: Collector,
        guests: Guests,
        logs: LogReader,
    ) -> Self {
        Self {
            loader,
            events,
            collector,
            guests,
            newcomer: Newcomer::default(),
            cgroups: Vec::new(),
            logs,
            pace: Pace::new(Instant::now()),
            over_since: None,
            settle: false,
            old_calls: OldCalls::default(),
            view: None,
        }
    }

    /// Applies events until there is a reason to stop. Returns whether that was a signal.
    pub(super) async fn until(
        &mut self,
        signals: &mut Signals,
        mut running: Option<&mut Running>,
        pids: &[PinnedProcess],
    ) -> Result<bool, AppError> {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                batch = self.events.next_batch() => {
                    let batch = batch.map_err(|source| AppError::Runtime { source })?;
                    self.collector.take(&batch, &mut self.loader);
                    self.guests.look_into_new(&mut self.collector);
                    if self.collector.last_target_ended() {
                        tick.reset_immediately();
                    }
                }
                event = self.guests.next() => self.guests.take(event, &mut self.collector),
                event = self.newcomer.next() => self.meet(event),
                _ = tick.tick() => {
                    if let Some(is_stopped) = self.on_tick(running.as_deref_mut(), pids) {
                        return Ok(is_stopped);
                    }
                    if let Some(over_since) = self.over_since {
                        // Most readers read the rest at once. The others get more time.
                        tick.reset_after(over_since.elapsed().clamp(SOON, TICK));
                    }
                }
                notice = signals.next() => match (notice, &running) {
                    (Notice::Stop(_), _) => return Ok(true),
                    (Notice::TimeIsUp, _) => return Ok(false),
                    (Notice::WindowChanged, Some(running)) => {
                        // A terminal that refuses its size does not stop the trace.
                        let _ = running.resize_terminal();
                    }
                    (Notice::WindowChanged, None) => {}
                },
            }
        }
    }

    /// What is done from time to time. Returns whether a signal ended the trace, if there is a reason to stop.
    fn on_tick(&mut self, running: Option<&mut Running>, pids: &[PinnedProcess]) -> Option<bool> {
        self.guests.tick(&mut self.collector);
        self.meet_sandbox();
        let is_over = self.is_over(running, pids);
        if is_over {
            self.survey(Keep::NewAndLooks);
        } else if self.wants_survey()
            && !self.newcomer.is_looked_for()
            && self.pace.allows(Instant::now())
        {
            self.survey(self.view.as_ref().map_or(Keep::New, |_| Keep::NewAndLooks));
        }
        self.collect_waiting();
        self.collector.sweep(&mut self.loader);
        self.old_calls.turn(&mut self.loader, Instant::now());
        self.collector.tell(&self.loader);
        self.collector.recording.checkpoint(&mut self.loader, boot_ns);
        if self.serves_view_to_end() {
            return Some(true);
        }
        (is_over && self.is_drained()).then_some(false)
    }

    /// Applies what is in the ring now, for at most one [`TURN`]. Returns whether the ring is empty.
    pub(super) fn collect_waiting(&mut self) -> bool {
        let began = Instant::now();
        while began.elapsed() < TURN {
            let batch = self.events.drain();
            if batch.is_empty() {
                self.collector.look();
                return true;
            }
            self.collector.take(&batch, &mut self.loader);
        }
        false
    }

    /// Makes a last survey, detaches, applies what is left in the ring, and reads the ledger.
    ///
    /// The survey comes before the detach. What is written or read after the survey is then in the ledger, and no one
    /// takes the survey for the final state of that pipe.
    pub(super) fn finish(mut self, end: &End<'_>) -> Result<(Session, Recording), AppError> {
        self.survey(Keep::All);
        self.collector.look_at_threads(end.look(LOOK_AT_END));
        // Before the detach, so that what guests write to files of this machine is counted outside as well.
        self.guests.finish(&mut self.collector, end.look(LOOK_AT_END));
        self.newcomer.finish(&mut self.collector, end.look(LOOK_AT_END));
        let skipped = self.loader.skipped_runs();
        self.loader.detach();
        self.collector.session.end_ns = boot_ns();
        // No hook adds to the ring any more.
        while !self.collect_waiting() {}
        // Files are looked for as their live writers see them.
        self.collector.read_tables(&mut self.loader, skipped)?;
        self.collector.look_at_files(end.look(LOOK_AT_END));
        self.collector.look_at_logs(end.look(LOOK_AT_END), &mut self.logs);
        Ok(self.collector.close())
    }
}
