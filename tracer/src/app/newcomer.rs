//! The container that a docker client starts as the command of a trace: it becomes a target while the trace runs.

use std::time::{Duration, Instant};

use tracer_common::loss::LossCell;
use tracer_core::session::{LossReason, Process};
use tracer_loader::LoaderError;

use super::{AppError, Run, Subject, collect::Collector, stderr};
use crate::{
    docker::{Client, Expected, News, Watched},
    gvisor::is_sandbox_name,
    launch::{Launch, Launched},
    sys::processes::comm,
    target::{CgroupTarget, ContainerPlace, Hierarchy, Request, Roots},
};

/// How long after its client's end a container may take to get a cgroup.
const AFTER_CLIENT: Duration = Duration::from_secs(1);
/// Name of runc's process that will execute the container's program (libcontainer/nsenter/nsexec.c).
const RUNC_INIT: &str = "runc:[2:INIT]";
/// Names of runtimes' processes in a container whose program does not run yet.
const PREPARES: [&str; 3] = [RUNC_INIT, "crun", "runsc-gofer"];

/// The command with which to start, and the container that it will have docker start. `docker run` gets one more option.
pub(super) fn expect(
    mut launch: Launch,
    existing: &[Request],
    hierarchy: Option<&Hierarchy>,
    quiet: bool,
) -> (Launch, Option<Expected>) {
    match Client::of(&launch.argv) {
        Some(Client::Run(at)) => {
            let expected = expected(&launch, at, hierarchy, quiet);
            let option = expected.as_ref().and_then(Expected::option);
            if let Some(option) = option {
                let words = option.to_string_lossy();
                stderr::note(
                    quiet,
                    &format!("tracer: gives docker the option {words}, to follow the container"),
                );
                launch.argv.insert(at, option);
            }
            (launch, expected)
        }
        Some(Client::Exec) if !existing.iter().any(is_container) => {
            stderr::note(
                quiet,
                "tracer: traces the client only: what `docker exec` starts is no child of it; name the container as \
                 well: tracer --container NAME -- docker exec NAME …",
            );
            (launch, None)
        }
        _ => (launch, None),
    }
}

fn is_container(request: &Request) -> bool {
    matches!(request, Request::Container(_) | Request::Pod(_) | Request::Cgroup(_))
}

/// What to watch for, unless that is impossible.
fn expected(
    launch: &Launch,
    at: usize,
    hierarchy: Option<&Hierarchy>,
    quiet: bool,
) -> Option<Expected> {
    let words = launch.argv.get(at..).unwrap_or_default();
    let place = match ContainerPlace::expect(&Roots::host(), hierarchy) {
        Ok(place) => place,
        Err(error) => {
            tracing::warn!("cannot follow the container: {error}");
            return None;
        }
    };
    match Expected::new(words, place, launch.user.is_none()) {
        Ok(expected) if expected.has_file() => Some(expected),
        Ok(_) => {
            stderr::note(
                quiet,
                "tracer: traces the client only: to follow the container of another user's `docker run`, give it \
                 --cidfile=FILE with a new FILE in a folder of that user",
            );
            None
        }
        Err(error) => {
            tracing::warn!("cannot follow the container: {error}");
            None
        }
    }
}

/// The container, as far as it is known.
#[derive(Default)]
pub(super) struct Newcomer {
    watched: Option<Watched>,
    /// The command's pid.
    client: u32,
    /// The container's id.
    id: Option<String>,
    cgroup: Option<CgroupTarget>,
    /// Whether the program may have run before the cgroup was a target.
    is_late: bool,
    /// When the command was first found ended.
    client_ended: Option<Instant>,
}

impl Newcomer {
    /// Starts to look for the container that the subject's command will have docker start.
    ///
    /// # Errors
    /// [`AppError::Runtime`] if the system allows no further thread.
    pub(super) fn watch(subject: &mut Subject) -> Result<Self, AppError> {
        let watched = subject.newcomer.take().map(Expected::watch).transpose();
        let watched = watched.map_err(|source| AppError::Runtime { source })?;
        let client = subject.launched.as_ref().map_or(0, Launched::pid);
        Ok(Self { watched, client, ..Self::default() })
    }

    /// The next news. Waits for ever if no container is expected. Can be cancelled without a loss.
    pub(super) async fn next(&mut self) -> News {
        if let Some(watched) = &mut self.watched
            && let Some(news) = watched.next().await
        {
            return news;
        }
        std::future::pending().await
    }

    /// Whether the trace goes on for the container: it has not ended, or may still appear.
    pub(super) fn keeps_trace_open(&mut self, client_has_ended: bool) -> bool {
        if !client_has_ended {
            return false;
        }
        let since = *self.client_ended.get_or_insert_with(Instant::now);
        match &self.cgroup {
            Some(cgroup) => cgroup.path.exists(),
            None => self.id.is_some() && since.elapsed() < AFTER_CLIENT,
        }
    }

    /// Counts a container as missed whose program may have run before tracer found it.
    pub(super) fn finish(&self, collector: &mut Collector) {
        let is_it = |process: &Process| process.id.tgid == self.client && process.comm == "docker";
        // Another engine's client with that name starts the container itself: the container is its descendant.
        let is_docker = collector.session.processes.values().any(is_it);
        if is_docker && self.id.is_some() && (self.is_late || self.cgroup.is_none()) {
            let cell = LossCell { events: 1, bytes: 0 };
            collector.add_observed_loss(&LossReason::ContainerMissed, cell);
        }
    }
}

impl Run {
    /// Makes the command's container a target.
    pub(super) fn meet(&mut self, news: News) {
        match news {
            News::Created(id) => self.newcomer.id = Some(id),
            News::Cgroup(cgroup) => {
                let followed = self.follow(&cgroup).inspect_err(|error| {
                    tracing::warn!("cannot follow the container {}: {error}", cgroup.label);
                });
                // Of a container that is started again, one time is enough.
                self.newcomer.is_late |= !followed.unwrap_or(false);
                self.newcomer.cgroup = Some(cgroup);
            }
        }
    }

    /// The container's first process is followed from its next `execve` on. If its program runs already, all that runs in
    /// the container is adopted. Returns whether the program did not run yet.
    fn follow(&mut self, cgroup: &CgroupTarget) -> Result<bool, LoaderError> {
        let before = self.newcomer.cgroup.as_ref().map(|before| before.id);
        self.loader.declare_newcomer(cgroup.id, before)?;
        // From here on each `execve` in the container is seen.
        let comms = cgroup.pids().into_iter().map(|pid| comm(pid).unwrap_or_default());
        let comms: Vec<String> = comms.collect();
        let prepares = |comm: &String| PREPARES.contains(&comm.as_str()) || is_sandbox_name(comm);
        let is_in_time = !comms.is_empty() && comms.iter().all(prepares);
        tracing::debug!(path = %cgroup.path.display(), ?comms, "follows the container");
        if comms.iter().any(|comm| comm != RUNC_INIT) {
            self.collect_waiting();
            self.collector.adopts_late = !is_in_time;
            let adopted = self.loader.adopt(&mut self.events);
            self.collect_waiting();
            self.collector.adopts_late = false;
            adopted?;
        }
        Ok(is_in_time)
    }
}
