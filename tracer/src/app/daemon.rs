//! `tracer daemon`: records what becomes of the output of every command, and forgets each when it is judged.
//!
//! A trace keeps all that it saw until its report. The daemon runs for months: it looks for *jobs* that have ended
//! ([`Session::jobs`](tracer_core::session::Session::jobs)), has each judged as a trace would, hands the result to the
//! history, and forgets the job.

mod check;
mod entry;
mod hung;
mod losses;
mod lost;
mod picture;
mod pinned;
mod places;
mod reach;
mod receivers;
mod recorder;
mod service;
mod streams;
mod tails;
mod viewers;
pub(in crate::app) mod wire;

use std::{
    collections::BTreeMap,
    io,
    path::PathBuf,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use tracer_core::session::{Keep, Target};
use tracer_history::{Writer, reason};
use tracer_loader::{CgroupScope, KernelSettings, boot_ns};
use tracer_reach::Reach;

use self::{
    picture::Sample, pinned::Left, places::Places, receivers::Receivers, recorder::Recorder,
    service::Service, tails::JobTails, viewers::Viewers,
};
use super::{
    AppError, STALLED,
    attach::attach,
    collect::Collector,
    guests::Guests,
    handover::{Handover, Item},
    live::Sinks,
    memory::MemoryLimit,
    record::Recording,
    run::{LOOK_AT_END, Run, TICK},
    signals::{Notice, Signals},
    stderr,
    subject::Subject,
    top::Sampler,
};
use crate::{
    observe::{LogReader, Lookout},
    scope::{CgroupEvent, CgroupWatch, watch::MOST_MATCHES},
    settings::DaemonSettings,
    sys::{
        cgroup_namespace, limits,
        privileges::{self, Rights},
        signal::ignore_file_size,
    },
    target::CgroupTarget,
};

pub use self::{check::check, pinned::detach};

/// How long the history, and then the systems that are told, may take at the end to write what waits.
const LAST_WRITES: Duration = Duration::from_millis(1_500);

/// Records until a signal ends it.
///
/// # Errors
/// [`AppError`], one sentence each.
pub fn daemon(settings: &DaemonSettings) -> Result<(), AppError> {
    let failed = |source| AppError::Runtime { source };
    ignore_file_size();
    limits::raise_files();
    if let Err(error) = cgroup_namespace::enter_machines() {
        tracing::warn!(
            "the paths of cgroups are relative to this container's own: {error}; give it CAP_SYS_ADMIN"
        );
    }
    let logs = LogReader::start(&[]).map_err(failed)?;
    let lookout = Lookout::start_renewed();
    let of_views = Lookout::start_of(1);
    let mut guests = Guests::start(&settings.kernel, false)?;
    let mut signals = Signals::listen()?;
    stderr::start().map_err(failed)?;
    crate::doctor::preflight()?;
    guests.listen();
    let reach = reach::start(settings)?;
    let history = Writer::start_on(&settings.history, settings.limits, |work| {
        privileges::spawn("history", Rights::None, work)
    })?;
    let viewers = Viewers::start(settings, of_views);
    let unseen =
        |error: &io::Error| tracing::warn!("`tracer top --daemon` cannot be used: {error}");
    let viewers = viewers.inspect_err(unseen).ok();
    let watch = CgroupWatch::start(&settings.wanted)?;
    signals.check()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(failed)?;
    let begun = Begun { logs, lookout, guests, viewers, watch };
    let outcome = runtime.block_on(record(settings, begun, (&history, &reach), &mut signals));
    runtime.shutdown_background();
    let at_us = Timestamp::now().as_microsecond();
    history.detached(at_us, if outcome.is_ok() { "stopped" } else { "failed" });
    let until = Instant::now() + LAST_WRITES;
    if !history.close(LAST_WRITES) {
        tracing::warn!("the history did not take the latest entries in time");
    }
    reach.close(until.saturating_duration_since(Instant::now()));
    // The last lines of the log.
    stderr::settle(|idle| idle > STALLED);
    outcome
}

/// What is there before the kernel side is loaded.
struct Begun {
    logs: LogReader,
    lookout: Lookout,
    guests: Guests,
    viewers: Option<Viewers>,
    watch: CgroupWatch,
}

/// How long no further cgroup is told when all that are there have been.
const ALL_TOLD: Duration = Duration::from_millis(50);

/// The cgroups that are there already.
async fn cgroups_there(watch: &mut CgroupWatch) -> Vec<CgroupTarget> {
    let mut there = Vec::new();
    while let Ok(Some(event)) = tokio::time::timeout(ALL_TOLD, watch.next()).await {
        match event {
            CgroupEvent::Appeared(cgroup) => there.push(cgroup),
            CgroupEvent::Gone { id, .. } => there.retain(|cgroup| cgroup.id != id),
            CgroupEvent::Limit(limit) => tracing::warn!("{limit}"),
            CgroupEvent::Lost => {}
        }
    }
    there
}

async fn record(
    settings: &DaemonSettings,
    Begun { logs, lookout, guests, viewers, mut watch }: Begun,
    (history, reach): (&Writer, &Reach),
    signals: &mut Signals,
) -> Result<(), AppError> {
    let cgroups = cgroups_there(&mut watch).await;
    let mut kernel = settings.kernel.clone();
    kernel.cgroup = Some(scope(&watch, &cgroups));
    kernel.capture = JobTails::scope(settings);
    let helpers = (logs, lookout, guests);
    let Attached { run, tails, handover, items, start_ns } =
        attached(settings, kernel, helpers, history, signals)?;
    let service = Service::new();
    let (hierarchy, mount_point) = (watch.hierarchy().clone(), watch.mount_point());
    let places = Places::start(hierarchy, mount_point, handover.clone());
    let mut places = places.map_err(|source| AppError::Runtime { source })?;
    places.restore(&items);
    cgroups.iter().for_each(|cgroup| places.appeared(cgroup));
    let receivers = Receivers::new(history, reach);
    let mut recorder = Recorder::new(settings, receivers, tails, handover, start_ns);
    recorder.restore(&items);
    let mut daemon = Daemon {
        run,
        recorder,
        places,
        watch,
        known: cgroups.into_iter().map(|cgroup| (cgroup.path.clone(), cgroup)).collect(),
        service,
        viewers,
        sampler: Sampler::new(),
    };
    daemon.run.collect_waiting();
    daemon.forget_told(settings);
    daemon.run.survey(Keep::All);
    signals.begin()?;
    stderr::say(&format!("tracer: records {}", settings.scope()));
    daemon.service.is_ready();
    daemon.until(signals).await?;
    daemon.service.stops();
    daemon.finish();
    Ok(())
}

/// A trace of all jobs, and what an earlier recorder has left for this one.
struct Attached {
    run: Run,
    tails: JobTails,
    /// Where this recorder keeps what it knows.
    handover: Handover,
    /// What the earlier one kept.
    items: Vec<Item>,
    /// When the programs were attached, nanoseconds since boot.
    start_ns: u64,
}

/// Loads the programs and attaches them, or adopts those that an earlier recorder left.
fn attached(
    settings: &DaemonSettings,
    mut kernel: KernelSettings,
    (logs, lookout, guests): (LogReader, Lookout, Guests),
    history: &Writer,
    signals: &mut Signals,
) -> Result<Attached, AppError> {
    let mut left = Left::load(settings, &mut kernel)?;
    signals.check()?;
    let loader = &mut left.loader;
    let mut events = loader.take_events()?;
    let tails = JobTails::start(settings, loader)?;
    left.keep_records(&mut events);
    let memory = MemoryLimit::of_jobs(settings.memory_for_session());
    let mut collector = Collector::new(Sinks::default(), Recording::default(), memory, lookout);
    // From here on they are kept.
    collector.new_targets();
    collector.hand_over_by(left.handover.clone());
    if left.begun().is_some() {
        collector.restore(&left.items, &mut left.loader)?;
    }
    // No process and no command is the target, only cgroups are.
    attach(&mut left.loader, &mut events, &kernel, &Subject::default())?;
    let begun = left.begun().map(|begun| (begun.start, begun.start_ns));
    let (start, start_ns) = begun.unwrap_or_else(|| (Timestamp::now(), boot_ns()));
    left.attached(settings, history, start, start_ns);
    collector.begin(&Target::default(), start, start_ns, &[1, 2]);
    let Left { loader, handover, items, .. } = left;
    let run = Run::new(loader, events, collector, guests, logs);
    Ok(Attached { run, tails, handover, items, start_ns })
}

/// The target cgroups in the form that the kernel side compares.
fn scope(watch: &CgroupWatch, cgroups: &[CgroupTarget]) -> CgroupScope {
    CgroupScope {
        ids: cgroups.iter().map(|cgroup| cgroup.id).collect(),
        subsystem: watch.hierarchy().subsystem_id(),
        capacity: MOST_MATCHES,
    }
}

/// A recorder whose hooks are attached.
struct Daemon<'a> {
    run: Run,
    recorder: Recorder<'a>,
    places: Places,
    watch: CgroupWatch,
    /// The target cgroups.
    known: BTreeMap<PathBuf, CgroupTarget>,
    service: Service,
    /// Those who look at it; `None` if that is not possible.
    viewers: Option<Viewers>,
    sampler: Sampler,
}

impl Daemon<'_> {
    /// Forgets jobs that an earlier recorder has judged already.
    fn forget_told(&mut self, settings: &DaemonSettings) {
        let collector = &mut self.run.collector;
        let mut jobs = collector.session.jobs();
        jobs.retain(|job| settings.pinned && job.ended_ns.is_some());
        let told = pinned::told(&settings.history, jobs, |job| self.recorder.began_us(job));
        collector.forget(&told);
    }

    /// Records until a signal comes.
    async fn until(&mut self, signals: &mut Signals) -> Result<(), AppError> {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                batch = self.run.events.next_batch() => {
                    let batch = batch.map_err(|source| AppError::Runtime { source })?;
                    self.run.collector.take(&batch, &mut self.run.loader);
                    self.meet_processes();
                }
                event = self.run.guests.next() => {
                    self.run.guests.take(event, &mut self.run.collector);
                }
                event = self.watch.next() => match event {
                    Some(event) => self.meet_cgroup(event),
                    None => return Err(AppError::ScopeLost),
                },
                _ = tick.tick() => self.turn(),
                notice = signals.next() => match notice {
                    Notice::Stop(_) | Notice::TimeIsUp => return Ok(()),
                    Notice::WindowChanged => {}
                },
            }
        }
    }

    fn turn(&mut self) {
        self.run.guests.tick(&mut self.run.collector);
        let now = Instant::now();
        let is_watched = self.viewers.as_ref().is_some_and(Viewers::want_sample);
        let wants_survey =
            self.run.collector.wants_survey() || is_watched && self.sampler.wants_survey(now);
        if wants_survey && self.run.pace.allows(now) {
            self.run.survey(Keep::NewAndLooks);
        }
        self.run.collect_waiting();
        self.meet_processes();
        self.run.collector.sweep(&mut self.run.loader);
        self.run.old_calls.turn(&mut self.run.loader, now);
        self.places.take();
        self.recorder.turn(&mut self.run.loader, &mut self.run.collector, &mut self.places);
        self.show();
        self.service.is_alive();
    }

    /// Gives a view that waits what is known now. Does not wait.
    fn show(&mut self) {
        let Some(viewers) = self.viewers.as_ref().filter(|viewers| viewers.want_sample()) else {
            return;
        };
        let known = &self.run.collector.session;
        let Some(mut session) = self.sampler.take(&mut self.run.loader, known) else { return };
        let running = session.processes.values().filter(|it| it.is_target && it.end_ns.is_none());
        let oldest_ns = running.map(|process| process.id.start_ns).min().unwrap_or(u64::MAX);
        // What was missed before they started says nothing about them.
        session.losses.clear();
        for (reason, cell) in self.recorder.losses_since(oldest_ns) {
            session.add_loss(reason, cell);
        }
        viewers.put(Sample { session, names: self.places.names(), lost: self.recorder.lost() });
    }

    /// Learns in which cgroup new targets run.
    fn meet_processes(&mut self) {
        for (process, cgroup) in self.run.collector.new_targets() {
            self.places.meet(process, cgroup, &self.run.collector.session);
        }
        self.run.guests.look_into_new(&mut self.run.collector);
    }

    /// A cgroup has appeared or is gone.
    fn meet_cgroup(&mut self, event: CgroupEvent) {
        match event {
            CgroupEvent::Appeared(cgroup) => {
                self.places.appeared(&cgroup);
                if let Err(error) = self.run.follow_cgroup(&cgroup) {
                    tracing::warn!("cannot record the cgroup {}: {error}", cgroup.label);
                }
                self.known.insert(cgroup.path.clone(), cgroup);
            }
            CgroupEvent::Gone { path, .. } => {
                if let Some(cgroup) = self.known.remove(&path) {
                    self.places.gone(&cgroup);
                    if let Err(error) = self.run.loader.remove_cgroup(cgroup.id) {
                        tracing::warn!("{error}");
                    }
                }
            }
            CgroupEvent::Lost => self.recorder.missed(reason::CGROUPS_MISSED, 1),
            CgroupEvent::Limit(limit) => {
                self.recorder.missed(reason::CGROUPS_FULL, 1);
                tracing::warn!("{limit}");
            }
        }
    }

    /// Writes what still runs, and detaches.
    fn finish(mut self) {
        self.run.survey(Keep::NewAndLooks);
        self.run.guests.finish(&mut self.run.collector, LOOK_AT_END);
        self.run.collect_waiting();
        self.run.collector.look_at_threads(LOOK_AT_END);
        self.recorder.finish(&mut self.run.loader, &mut self.run.collector, &self.places);
        self.run.loader.detach();
    }
}
