//! What a docker client starts as the command of a trace: it becomes a target while the trace runs.

mod expect;

use std::{
    collections::BTreeSet,
    time::{Duration, Instant, SystemTime},
};

use tracer_common::loss::LossCell;
use tracer_core::{
    session::{LossReason, Process, prepares as prepares_program},
    text::escape,
};
use tracer_loader::LoaderError;

pub(super) use self::expect::{expect, sandbox_of_exec};
use super::{AppError, Run, Subject, collect::Collector, stderr};
use crate::{
    docker::{ContainerEvent, READY, Watched},
    gvisor::is_sandbox_name,
    launch::Launched,
    sys::processes::{comm, exists},
    target::CgroupTarget,
};

/// How long after its client's end a container may take to get a cgroup.
const AFTER_CLIENT: Duration = Duration::from_secs(1);
/// The same for a process of a `docker exec`. The client ends after the process was started, if it was.
const AFTER_EXEC: Duration = Duration::from_millis(300);
/// Name of runc's process that will execute the container's program (libcontainer/nsenter/nsexec.c).
const RUNC_INIT: &str = "runc:[2:INIT]";

/// What the engine starts, as far as it is known.
#[derive(Default)]
pub(super) struct Newcomer {
    watched: Option<Watched>,
    /// The command's pid.
    client: u32,
    /// When it was started, in seconds since 1970.
    since: f64,
    /// Whether a process is expected, not a container.
    is_exec: bool,
    /// The container's id.
    id: Option<String>,
    cgroup: Option<CgroupTarget>,
    /// gVisor's kernel, if the container has one and no cgroup.
    sandbox: Option<u32>,
    /// Whether a process of a `docker exec` was found.
    is_found: bool,
    /// Such processes that have not executed their programs yet.
    awaited: BTreeSet<u32>,
    /// Whether the program may have run before it was a target.
    is_late: bool,
    /// When the command was first found ended.
    client_ended: Option<Instant>,
}

impl Newcomer {
    /// Starts to look for what the subject's command will have docker start.
    ///
    /// # Errors
    /// [`AppError::Runtime`] if the system allows no further thread.
    pub(super) fn watch(subject: &mut Subject) -> Result<Self, AppError> {
        let client = subject.launched.as_ref().map_or(0, Launched::pid);
        let expected = subject.newcomer.take();
        let is_exec = expected.as_ref().is_some_and(|expected| expected.place().is_none());
        let watched = expected.map(|expected| expected.watch(client)).transpose();
        let watched = watched.map_err(|source| AppError::Runtime { source })?;
        Ok(Self { watched, client, since: now(), is_exec, ..Self::default() })
    }

    /// The next event. Waits for ever if no container is expected. Can be cancelled without a loss.
    pub(super) async fn next(&mut self) -> ContainerEvent {
        if let Some(watched) = &mut self.watched
            && let Some(event) = watched.next().await
        {
            return event;
        }
        std::future::pending().await
    }

    /// Whether a process of a `docker exec` may appear any moment, and is to be met within some milliseconds.
    pub(super) const fn is_looked_for(&self) -> bool {
        self.is_exec && !self.is_found && self.client_ended.is_none()
    }

    /// Whether the trace goes on for what was started: it has not ended, or may still appear.
    pub(super) fn keeps_trace_open(&mut self, client_has_ended: bool) -> bool {
        if !client_has_ended {
            return false;
        }
        let since = *self.client_ended.get_or_insert_with(Instant::now);
        if let Some(sandbox) = self.sandbox {
            return !self.is_exec && exists(sandbox);
        }
        if self.is_exec {
            return match self.is_found {
                true => {
                    since.elapsed() < AFTER_CLIENT && self.awaited.iter().any(|pid| prepares(*pid))
                }
                false => since.elapsed() < AFTER_EXEC,
            };
        }
        match &self.cgroup {
            Some(cgroup) => cgroup.path.exists(),
            None => self.id.is_some() && since.elapsed() < AFTER_CLIENT,
        }
    }

    /// Counts as missed what may have run before tracer found it. The engine may take at most this long to say so.
    pub(super) fn finish(&self, collector: &mut Collector, at_most: Duration) {
        let is_it = |process: &Process| process.id.tgid == self.client && process.comm == "docker";
        // Another engine's client with that name starts the container itself: the container is its descendant.
        let is_docker = collector.session.processes.values().any(is_it);
        if is_docker && (self.is_late || self.is_missed(at_most)) {
            let cell = LossCell { events: 1, bytes: 0 };
            collector.add_observed_loss(&LossReason::ContainerMissed, cell);
        }
    }

    /// Whether something was started that was not found.
    fn is_missed(&self, at_most: Duration) -> bool {
        if self.is_found || self.cgroup.is_some() || self.sandbox.is_some() {
            return false;
        }
        match self.watched.as_ref().and_then(Watched::engine) {
            Some(engine) => engine.has_started([self.since, now()], at_most),
            None => self.id.is_some(),
        }
    }
}

/// Seconds since 1970.
fn now() -> f64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap_or_default().as_secs_f64()
}

/// Whether a process is a runtime's that will execute a program.
fn prepares(pid: u32) -> bool {
    exists(pid) && comm(pid).is_some_and(|comm| READY.contains(&comm.as_str()))
}

impl Run {
    /// Makes a target of what the command has docker start.
    pub(super) fn meet(&mut self, event: ContainerEvent) {
        match event {
            ContainerEvent::Enters(pid) => self.enter(pid),
            ContainerEvent::Ended(pid) => {
                self.newcomer.awaited.remove(&pid);
                if let Err(error) = self.loader.forget_awaited(pid) {
                    tracing::warn!("{error}");
                }
            }
            ContainerEvent::Created(id) => {
                self.guests.seek(&id);
                self.newcomer.id = Some(id);
            }
            ContainerEvent::Cgroup(cgroup) => {
                if let Some(doubt) = &cgroup.doubt {
                    let (label, doubt) = (escape(&cgroup.label), escape(doubt));
                    tracing::warn!("the container {label} may be something else: {doubt}");
                }
                let followed = self.follow(&cgroup).inspect_err(|error| {
                    tracing::warn!("cannot follow the container {}: {error}", cgroup.label);
                });
                // Of a container that is started again, one time is enough.
                self.newcomer.is_late |= !followed.unwrap_or(false);
                self.newcomer.cgroup = Some(cgroup);
            }
        }
    }

    /// Makes a target of the sandbox in which the container runs, unless its cgroup has made it one.
    pub(super) fn meet_sandbox(&mut self) {
        let Some(pid) = self.guests.take_found() else { return };
        if self.newcomer.cgroup.is_some() || self.newcomer.is_found {
            return;
        }
        let followed = self.loader.await_process(pid).and_then(|()| self.adopt(false));
        match followed {
            Ok(()) => self.newcomer.sandbox = Some(pid),
            Err(error) => tracing::warn!("cannot follow the sandbox {pid}: {error}"),
        }
    }

    /// The process is followed from its next `execve` on. If its program runs already, it is adopted.
    fn enter(&mut self, pid: u32) {
        if self.newcomer.is_found {
            stderr::say(
                "tracer: another client had the same command started in the container at the same time: both are traced",
            );
        }
        self.newcomer.is_found = true;
        self.newcomer.awaited.insert(pid);
        let followed = self.loader.await_process(pid).and_then(|()| {
            // From here on its `execve` is seen, and takes it out of the awaited.
            let is_in_time = prepares(pid) || !exists(pid) || !self.loader.is_awaited(pid)?;
            tracing::debug!(pid, is_in_time, "follows the process");
            if !is_in_time {
                self.adopt(true)?;
            }
            Ok(is_in_time)
        });
        let followed = followed.inspect_err(|error| {
            tracing::warn!("cannot follow process {pid} of the container: {error}");
        });
        self.newcomer.is_late |= !followed.unwrap_or(false);
    }

    /// Adopts what has become a target; `late` if it may have run before without being seen.
    fn adopt(&mut self, late: bool) -> Result<(), LoaderError> {
        self.collect_waiting();
        self.collector.adopts_late = late;
        let adopted = self.loader.adopt(&mut self.events);
        self.collect_waiting();
        self.collector.adopts_late = false;
        adopted.map(drop)
    }

    /// The container's first process is followed from its next `execve` on. If its program runs already, all that runs in
    /// the container is adopted. Returns whether the program did not run yet.
    fn follow(&mut self, cgroup: &CgroupTarget) -> Result<bool, LoaderError> {
        // There is room for one at a time.
        if let Some(before) = &self.newcomer.cgroup {
            self.loader.remove_cgroup(before.id)?;
        }
        self.follow_cgroup(cgroup)
    }

    /// The processes of a cgroup are followed from their next `execve` on, and from when they enter it. What runs there
    /// already is adopted. Returns whether no program ran yet.
    pub(super) fn follow_cgroup(&mut self, cgroup: &CgroupTarget) -> Result<bool, LoaderError> {
        self.loader.add_cgroup(cgroup.id)?;
        // From here on each `execve` in the container is seen.
        let comms = cgroup.pids().into_iter().map(|pid| comm(pid).unwrap_or_default());
        let comms: Vec<String> = comms.collect();
        let is_in_time = !comms.is_empty()
            && comms.iter().all(|comm| {
                prepares_program(comm) || comm == "runsc-gofer" || is_sandbox_name(comm)
            });
        tracing::debug!(path = %cgroup.path.display(), ?comms, "follows the container");
        if comms.iter().any(|comm| comm != RUNC_INIT) {
            self.adopt(!is_in_time)?;
        }
        Ok(is_in_time)
    }
}
