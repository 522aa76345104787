//! One run: resolves the target, loads, attaches, collects, judges and renders.

mod attach;
mod begin;
mod capture;
mod collect;
mod daemon;
mod doctor;
mod end;
mod error;
mod explain;
mod export;
mod guests;
mod handover;
mod history;
mod lifetimes;
mod lines;
mod live;
mod live_targets;
mod log;
mod memory;
mod newcomer;
mod old_calls;
mod output;
mod over;
mod pace;
mod progress;
mod record;
mod recovery;
mod replay;
mod signals;
mod stderr;
mod subject;
mod survey;
mod text;
mod top;

use std::{
    path::PathBuf,
    process::ExitStatus,
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use tracer_core::{
    report::{self, Report},
    session::{Keep, Session},
};
use tracer_loader::{EventRing, KernelSettings, Loader, boot_ns};

use self::{
    attach::attach,
    begin::{Helpers, Observers, announce, ensure_alive, unused},
    capture::Capturing,
    collect::Collector,
    end::{End, STALLED},
    guests::Guests,
    live::Sinks,
    memory::MemoryLimit,
    newcomer::Newcomer,
    old_calls::OldCalls,
    output::{Destination, Form},
    pace::Pace,
    progress::Attaching,
    record::Recording,
    signals::{Notice, Signals},
    subject::{Subject, resolve},
    top::KeptOutput,
};
use crate::{
    launch::Running,
    observe::LogReader,
    settings::Settings,
    sys::{
        inherited::{Descriptors, Spare},
        limits,
        signal::{die_of, ignore_file_size},
    },
    target::PinnedProcess,
};

pub use self::{
    daemon::{check as check_daemon, daemon, detach as detach_daemon},
    doctor::doctor,
    error::AppError,
    explain::explain,
    export::export,
    guests::gvisor_config,
    history::{history, why},
    log::init as init_log,
    replay::{Replayed, replay},
    text::{print, version},
    top::{play, watch},
};

/// How a trace ended.
#[derive(Clone, Copy, Debug)]
pub struct Traced {
    /// Whether not all output arrived.
    pub has_loss: bool,
    /// How the command ended; `None` if it still runs, or if tracer started none.
    pub command: Option<ExitStatus>,
}

/// Traces until the target has ended, the time is up, or a signal stops it. Then writes the report.
///
/// # Errors
/// [`AppError`], one sentence each.
pub fn trace(settings: &Settings) -> Result<Traced, AppError> {
    let result = run(settings);
    if result.is_err() {
        // Warnings come before the error.
        stderr::settle(|idle| idle > STALLED);
    }
    match result {
        // Everything is cleaned up: the files of the run, and a command that was not started.
        Err(AppError::Interrupted { signal }) => die_of(signal),
        result => result,
    }
}

fn run(settings: &Settings) -> Result<Traced, AppError> {
    let inherited = Descriptors::of_this_process();
    ignore_file_size();
    limits::raise_files();
    let Helpers { observers, report, lines, session, capture } = Helpers::start(settings)?;
    let mut guests = Guests::start(&settings.kernel, settings.capture.is_some())?;
    let view = top::Before::start(settings)?;
    let mut signals = Signals::listen()?;
    stderr::start().map_err(|source| AppError::Runtime { source })?;
    crate::doctor::preflight()?;
    guests.listen();
    let mut destination = Destination::open(&settings.output, report, Form::of(settings))?;
    let capturing = Capturing::open(settings, capture)?;
    let recording = Recording::open(session, settings.record_limit)?;
    let mut kernel = settings.kernel.clone();
    kernel.capture = capturing.as_ref().map(Capturing::scope);
    let subject = resolve(settings, lines, &mut kernel, &mut guests)?;
    signals.check()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| AppError::Runtime { source })?;
    let live = destination.live(settings)?;
    let outcome = runtime.block_on(record(
        settings,
        &kernel,
        subject,
        Around { inherited, observers, guests, live, view },
        recording,
        capturing,
        &mut signals,
    ));
    runtime.shutdown_background();
    let Outcome { report, command, was_stopped, kept } = outcome?;
    signals.reports();
    let mut end = End::of(&mut signals, was_stopped);
    // A terminal that takes nothing must not keep a report from its file.
    let (before, after) = if destination.is_file() { (None, kept) } else { (kept, None) };
    before.into_iter().for_each(|kept| kept.print(|idle| end.waits(idle)));
    stderr::settle(|idle| idle > STALLED);
    let written = destination.write(&report);
    let written = written.and_then(|()| destination.close(|idle| end.waits(idle)));
    after.into_iter().for_each(|kept| kept.print(|idle| end.waits(idle)));
    if let Err(error) = written {
        // The report of a file that failed goes to standard error instead.
        destination.write_after_failure(&report)?;
        return Err(error);
    }
    stderr::settle(|idle| was_stopped && idle > STALLED);
    let has_loss = report.has_loss();
    leak(report);
    Ok(Traced { has_loss, command })
}

/// What surrounds a trace: what tracer was started with, its helpers, the live lines, and the view.
struct Around {
    inherited: Descriptors,
    observers: Observers,
    guests: Guests,
    live: Sinks,
    /// What a view needs, if there is one.
    view: Option<top::Before>,
}

/// What a trace leads to.
struct Outcome {
    report: Arc<Report>,
    /// How the command ended.
    command: Option<ExitStatus>,
    /// Whether a signal ended the trace.
    was_stopped: bool,
    /// The command's output, if its terminal is not the user's.
    kept: Option<KeptOutput>,
}

/// Leaks a value on purpose: the process exits next, which frees it faster than dropping a hundred thousand strings
/// one by one.
fn leak<T>(value: T) {
    std::mem::forget(value);
}

/// Attaches, collects and judges.
async fn record(
    settings: &Settings,
    kernel: &KernelSettings,
    mut subject: Subject,
    Around { inherited, observers: Observers { lookout, mut logs }, guests, live, view }: Around,
    recording: Recording,
    mut capturing: Option<Capturing>,
    signals: &mut Signals,
) -> Result<Outcome, AppError> {
    logs.opened().map_err(|(path, source)| AppError::WorkerLog { path, source })?;
    let attaching = Attaching::start(settings.quiet);
    let mut loader = Loader::load(kernel)?;
    signals.check()?;
    if kernel.debug_log {
        loader.start_debug_log()?;
    }
    let mut events = attaching.counts(loader.take_events()?);
    if let Some(capturing) = &mut capturing {
        capturing.start(loader.take_capture()?)?;
    }
    let memory = MemoryLimit::new(settings.max_memory, subject.target.pids.clone());
    let mut collector = Collector::new(live, recording, memory, lookout);
    attach(&mut loader, &mut events, kernel, &subject)?;
    let start = Timestamp::now();
    logs.trace_begins(i64::try_from(start.as_nanosecond()).unwrap_or(i64::MAX));
    collector.begin(&subject.target, start, boot_ns(), &settings.stdio_of_interest);
    let mut run = Run {
        settle: kernel.follow_readers > 1 || !logs.is_empty(),
        loader,
        events,
        collector,
        guests,
        newcomer: Newcomer::watch(&mut subject)?,
        logs,
        cgroups: subject.cgroups.clone(),
        pace: Pace::new(Instant::now()),
        over_since: None,
        old_calls: OldCalls::default(),
        view: None,
    };
    signals.start_clock(settings.duration);
    run.collect_waiting();
    run.collector.look_for(FIRST_LOOK);
    ensure_alive(&subject)?;
    if let Some(launched) = &subject.launched {
        run.collector.started_here(launched.pid());
    }
    drop(attaching);
    let spare = Spare::open().map_err(|source| AppError::Runtime { source })?;
    signals.begin()?;
    announce(settings, &subject.target);
    run.view = view.map(|view| view.show(&subject.target, start, settings)).transpose()?;
    let surveyed = run.survey_before_command();
    let released = subject.launched.map(|it| it.release(|| signals.stopped().is_none()));
    let mut running = released.transpose()?;
    // The command has its own copies. tracer's copies would keep pipes open.
    drop(inherited);
    unused(settings).let_go(&spare).map_err(|source| AppError::Runtime { source })?;
    if let Some(capturing) = &mut capturing {
        capturing.begins();
    }
    run.first_survey(surveyed, settings.quiet || settings.is_top || running.is_some());
    let was_stopped = run.until(signals, running.as_mut(), &subject.pids).await?;
    let mut end = End::of(signals, was_stopped);
    let (view, (session, recording)) = (run.view.take(), run.finish(&end)?);
    let command = running.and_then(|running| end.finish_command(running));
    let (mut report, case) =
        report::build(&session, subject.target, start, &settings.stdio_of_interest);
    if let Some(mut capturing) = capturing {
        capturing.finish(&session, kernel, &mut end);
        capturing.report(&case, &mut report, &mut end);
    }
    recording.close(end.waiting());
    let report = Arc::new(report);
    top::stay(view, &session, &report, &mut end);
    leak(case);
    leak(session);
    Ok(Outcome { report, command, was_stopped: end.was_stopped(), kept: subject.kept })
}

/// A trace whose hooks are attached.
struct Run {
    loader: Loader,
    events: EventRing,
    collector: Collector,
    /// The gVisor sandboxes of the target.
    guests: Guests,
    /// The container that the command has docker start.
    newcomer: Newcomer,
    /// Directories of the target cgroups.
    cgroups: Vec<PathBuf>,
    /// Managers' logs.
    logs: LogReader,
    /// When the next survey may take place.
    pace: Pace,
    /// When this first noticed that the target has ended.
    over_since: Option<Instant>,
    /// Whether processes behind the first reader are traced. They need time to pass the output on.
    settle: bool,
    /// Calls that began before fexit was attached.
    old_calls: OldCalls,
    /// Shows the trace.
    view: Option<top::Live>,
}

/// How often to check for the target's end if no event reports it.
const TICK: Duration = Duration::from_millis(100);
/// How soon after the target's end to check its readers. Each later check comes after twice the time.
const SOON: Duration = Duration::from_millis(5);
/// How long a trace waits at its start for the arguments of processes that ran before: live lines name them.
const FIRST_LOOK: Duration = Duration::from_millis(250);
/// For how long the report waits for each of these: what helper processes look at (blocked threads, then files, then
/// logs), sandboxes, and the engine that started a container. After a signal there is less time ([`End::look`]).
const LOOK_AT_END: Duration = Duration::from_millis(500);
/// How long events are applied at a time, before signals and the clock are looked at. A tree can cause events faster than
/// tracer applies them.
const TURN: Duration = Duration::from_millis(100);

impl Run {
    /// Applies events until there is a reason to stop. Returns whether that was a signal.
    async fn until(
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
                    self.guests.tick(&mut self.collector);
                    self.meet_sandbox();
                    let is_over = self.is_over(running.as_deref_mut(), pids);
                    if is_over {
                        self.survey(Keep::NewAndLooks);
                    } else if self.wants_survey() && !self.newcomer.is_looked_for() && self.pace.allows(Instant::now()) {
                        self.survey(self.view.as_ref().map_or(Keep::New, |_| Keep::NewAndLooks));
                    }
                    self.collect_waiting();
                    self.collector.sweep(&mut self.loader);
                    self.old_calls.turn(&mut self.loader, Instant::now());
                    self.collector.tell(&self.loader);
                    self.collector.recording.checkpoint(&mut self.loader, boot_ns);
                    if self.serves_view_to_end() {
                        return Ok(true);
                    }
                    if is_over && self.is_drained() {
                        return Ok(false);
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

    /// Applies what is in the ring now, for at most one [`TURN`]. Returns whether the ring is empty.
    fn collect_waiting(&mut self) -> bool {
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
    fn finish(mut self, end: &End<'_>) -> Result<(Session, Recording), AppError> {
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
