//! The gVisor sandboxes of a trace: who looks into them, and what they tell.

mod config;
mod connections;
mod kernels;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::{Duration, Instant},
};

use tracer_common::{id::ProcessId, loss::LossCell};
use tracer_core::{
    event::{EventKind, Sandbox},
    session::{LossReason, Session},
    text::escape,
};
use tracer_gvisor::{
    Guest, Identity,
    sink::{News, NewsKind, Sink},
};
use tracer_loader::boot_ns;

pub use self::config::gvisor_config;
use self::{
    connections::Connections,
    kernels::{handed_in, has_ended, real_minus_boot_ns, sentry_of},
};
use super::{AppError, collect::Collector};
use crate::{
    gvisor::{Folder, Keeper, Opened, Runtime, SandboxProcess},
    settings::Settings,
    sys::privileges::Rights,
};

/// How long sandboxes may take at the end to send the rest.
const REST: Duration = Duration::from_millis(500);
/// The most processes that are asked about at a time, and sandboxes: any program can have the name of a sandbox.
const MOST_ASKED: usize = 1024;
/// How often to ask for the names of processes in one sandbox, at most.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How many messages are taken at a time.
const BATCH: usize = 1024;

/// A sandbox in which a session was made, and whose connection is not known yet.
struct Expected {
    sentry: ProcessId,
    sandbox: SandboxProcess,
    procfs: String,
}

/// The sandboxes of a trace.
pub(super) struct Guests {
    keeper: Option<Keeper>,
    place: Option<(Folder, Sink)>,
    /// Whether the command is `runsc` and got the configuration itself.
    is_configured: bool,
    /// Processes that the keeper was asked about, without those that are no sandboxes.
    asked: BTreeMap<u32, ProcessId>,
    /// Whether it was said that the keeper is asked about no more of them.
    has_said_full: bool,
    expected: VecDeque<Expected>,
    connections: Connections,
    /// The sandboxes that are or were connected.
    seen: BTreeSet<ProcessId>,
    /// The latest number of a sandbox; the first is 1. One that connects again gets another number.
    numbers: u32,
    /// When the keeper was asked last what runs in a sandbox, by the pid of gVisor's kernel.
    looked: BTreeMap<u32, Instant>,
    fds: u64,
    all_fds: bool,
    /// Whether the user asked for output, not only for counts.
    wants_bytes: bool,
}

impl Guests {
    /// Forks the helper if this machine has `runsc`. To be called while this process has one thread.
    pub(super) fn start(settings: &Settings) -> Result<Self, AppError> {
        let kernel = &settings.kernel;
        let keeper = Runtime::find().map(|runtime| Keeper::fork(&runtime)).transpose();
        Ok(Self {
            keeper: keeper.map_err(|source| AppError::Runtime { source })?,
            place: None,
            is_configured: false,
            asked: BTreeMap::new(),
            has_said_full: false,
            expected: VecDeque::new(),
            connections: Connections::default(),
            seen: BTreeSet::new(),
            numbers: 0,
            looked: BTreeMap::new(),
            fds: kernel.fd_mask,
            all_fds: kernel.all_fds,
            wants_bytes: settings.capture.is_some(),
        })
    }

    /// Listens for sandboxes whose runtime is configured to send to tracer. To be called while tracer has all its
    /// capabilities ([`Sink::listen`]).
    pub(super) fn listen(&mut self) {
        if self.keeper.is_some() {
            self.place();
        }
    }

    /// The configuration for a `runsc` that tracer starts itself; its sandbox is then seen from its first instruction.
    /// `None` if this machine has no `runsc`, or if the socket cannot be made.
    pub(super) fn configuration(&mut self) -> Option<std::path::PathBuf> {
        self.keeper.as_ref()?;
        let config = self.place()?.0.config();
        self.is_configured = true;
        Some(config)
    }

    fn place(&mut self) -> Option<&(Folder, Sink)> {
        if self.place.is_none() {
            let made = Folder::make().and_then(|folder| {
                let sink = Sink::listen(&folder.socket(), &Folder::shared_socket(), || {
                    // Some systems do not let a thread lower its capabilities.
                    let _ = Rights::None.take();
                })?;
                Ok((folder, sink))
            });
            match made {
                Ok(place) => self.place = Some(place),
                Err(error) => tracing::warn!("cannot look into gVisor sandboxes: {error}"),
            }
        }
        self.place.as_ref()
    }

    /// Has a trace session made in the sandbox of this process, if it is one. The helper finds out: to read a command line
    /// can take for ever.
    pub(super) fn look_into(&mut self, process: ProcessId) {
        let is_known = self.asked.get(&process.tgid) == Some(&process);
        if self.keeper.is_none() || self.is_configured || is_known {
            return;
        }
        if self.asked.len() >= MOST_ASKED {
            if !std::mem::replace(&mut self.has_said_full, true) {
                tracing::warn!(
                    "looks into {MOST_ASKED} gVisor sandboxes at most: those that start now are out of sight"
                );
            }
            return;
        }
        let Some(config) = self.place().map(|(folder, _)| folder.config()) else { return };
        self.asked.insert(process.tgid, process);
        if let Some(keeper) = &mut self.keeper
            && let Err(error) = keeper.open(process.tgid, &config)
        {
            tracing::warn!("cannot look into the gVisor sandbox of pid {}: {error}", process.tgid);
        }
    }

    /// The next news. Waits for ever if no sandbox is listened to. Can be cancelled without a loss.
    pub(super) async fn next(&mut self) -> News {
        if let Some((_, sink)) = &mut self.place
            && let Some(news) = sink.next().await
        {
            return news;
        }
        std::future::pending().await
    }

    /// Takes news, and what else is there already.
    pub(super) fn take(&mut self, news: News, collector: &mut Collector) {
        let mut next = Some(news);
        for _ in 0..BATCH {
            let Some(news) = next else { break };
            self.news(news, collector);
            next = self.place.as_mut().and_then(|(_, sink)| sink.try_next());
        }
        if let Some(news) = next {
            self.news(news, collector);
        }
        self.hand_over(collector);
    }

    /// Has trace sessions made in the sandboxes that have started.
    pub(super) fn look_into_new(&mut self, collector: &mut Collector) {
        for process in collector.new_sandboxes() {
            self.look_into(process);
        }
    }

    /// Takes answers of the helper, and finds out which sandbox a connection belongs to.
    pub(super) fn tick(&mut self, collector: &mut Collector) {
        self.look_into_new(collector);
        let answers = self.keeper.as_mut().map(Keeper::answers).unwrap_or_default();
        for Opened { pid, is_new, result } in answers {
            if !is_new {
                self.listed(pid, result.ok().flatten());
                continue;
            }
            let sentry = self.asked.get(&pid).copied().unwrap_or_default();
            match result {
                // It may become one: it is asked about again when it has another image.
                Ok(None) => {
                    self.asked.remove(&pid);
                }
                Ok(Some((sandbox, procfs))) => {
                    self.expected.push_back(Expected { sentry, sandbox, procfs });
                }
                // It sends from its first instruction on.
                Err(_) if self.seen.contains(&sentry) => {}
                Err(why) => {
                    tracing::warn!(
                        "cannot look into the gVisor sandbox of pid {pid}: {}",
                        escape(&why)
                    );
                }
            }
        }
        for number in self.connections.unknown() {
            self.identify(number, collector);
        }
        self.look_at_strangers();
        self.hand_over(collector);
    }

    /// Asks for the names of processes that a runtime has started in running containers.
    fn look_at_strangers(&mut self) {
        let Some(keeper) = &mut self.keeper else { return };
        for guest in self.connections.guests() {
            let pid = guest.sentry().tgid;
            let is_time = self.looked.get(&pid).is_none_or(|last| last.elapsed() > LOOK_EVERY);
            // A helper that is gone answers nothing.
            if is_time && guest.has_strangers() && keeper.look(pid).is_ok() {
                self.looked.insert(pid, Instant::now());
            }
        }
    }

    /// What runs in a sandbox now. Without an answer, its strangers stay unknown.
    fn listed(&mut self, pid: u32, answer: Option<(SandboxProcess, String)>) {
        let Some((_, procfs)) = answer else { return };
        for guest in self.connections.guests().filter(|guest| guest.sentry().tgid == pid) {
            let all = tracer_gvisor::running(&procfs);
            all.iter().for_each(|running| guest.lists(running, boot_ns()));
        }
    }

    fn news(&mut self, News { sandbox, kind }: News, collector: &mut Collector) {
        match kind {
            NewsKind::Connected => self.connections.connected(sandbox),
            NewsKind::Message(message) => self.connections.message(sandbox, message),
            NewsKind::Closed => {
                let guest = self.connections.closed(sandbox);
                guest.into_iter().for_each(|guest| has_closed(*guest, collector));
            }
        }
    }

    /// Finds out which sandbox a connection belongs to, and applies what has waited.
    fn identify(&mut self, number: u32, collector: &mut Collector) {
        let Some(unknown) = self.connections.get_unknown(number) else { return };
        let (container, is_late) = (unknown.container(), unknown.is_late());
        let place = self.expected_place(container.as_deref(), is_late, &collector.session);
        let expected = place.and_then(|place| self.expected.remove(place));
        let (sentry, streams) = match (&expected, &container) {
            (Some(expected), _) => (expected.sentry, expected.sandbox.streams),
            // Its runtime is configured to send from the first instruction on.
            (None, Some(id)) => match sentry_of(&collector.session, id) {
                Some(found) => found,
                None if is_late => return self.connections.is_foreign(number),
                None => return,
            },
            (None, None) => {
                // A sandbox that is idle says nothing yet.
                let is_over = unknown.is_closed || !unknown.is_silent();
                if is_late && is_over {
                    self.connections.is_foreign(number);
                }
                return;
            }
        };
        self.seen.insert(sentry);
        self.numbers += 1;
        let sandbox = self.numbers;
        let container = match &expected {
            Some(expected) => expected.sandbox.id.clone(),
            None => container.unwrap_or_default(),
        };
        let looked_late = expected.is_some();
        collector.observed([EventKind::Sandbox(Sandbox {
            number: sandbox,
            container,
            sentry,
            looked_late,
            handed_in: handed_in(sandbox, streams),
        })]);
        self.say_no_bytes();
        let mut guest = Guest::new(self.identity(sandbox, sentry));
        let procfs = expected.map(|expected| expected.procfs).unwrap_or_default();
        for running in tracer_gvisor::running(&procfs) {
            guest.was_running(&running, boot_ns());
        }
        let closed = self.connections.belongs_to(number, guest);
        closed.into_iter().for_each(|guest| has_closed(*guest, collector));
    }

    /// Which of the expected sandboxes a connection belongs to.
    fn expected_place(
        &self,
        container: Option<&str>,
        is_late: bool,
        session: &Session,
    ) -> Option<usize> {
        let is_it = |expected: &Expected| container == Some(&expected.sandbox.id);
        if let Some(place) = self.expected.iter().position(is_it) {
            return Some(place);
        }
        // The first message may be about another container of the same sandbox.
        let is_other = container.is_some_and(|id| sentry_of(session, id).is_some());
        // A sandbox that is idle says nothing. If there is one connection, it is that of the only session.
        let has_spoken = container.is_some() || self.connections.unknown().len() == 1;
        let is_only = self.expected.len() == 1 && has_spoken;
        (!self.expected.is_empty() && !is_other && (is_only || is_late)).then_some(0)
    }

    fn identity(&self, number: u32, sentry: ProcessId) -> Identity {
        Identity {
            number,
            sentry,
            real_minus_boot_ns: real_minus_boot_ns(),
            fds: self.fds,
            all_fds: self.all_fds,
        }
    }

    /// Says once that there are no bytes of guests, if the user asked for bytes.
    fn say_no_bytes(&mut self) {
        if std::mem::take(&mut self.wants_bytes) {
            tracing::warn!(
                "gVisor tells how many bytes its guests move, not which: captured is what passes from the sandbox \
                 to this machine"
            );
        }
    }

    /// Hands events and rows over to the session.
    fn hand_over(&mut self, collector: &mut Collector) {
        for guest in self.connections.guests() {
            collector.take_guest(&guest.output());
        }
    }

    /// Whether every sandbox has closed its connection.
    pub(super) fn are_closed(&self) -> bool {
        self.connections.are_closed()
    }

    /// Has the sessions deleted, takes the rest, and counts what was lost.
    pub(super) fn finish(&mut self, collector: &mut Collector) {
        if let Some(keeper) = &self.keeper {
            keeper.close();
        }
        let began = Instant::now();
        while began.elapsed() < REST && !(self.are_closed() && self.expected.is_empty()) {
            self.tick(collector);
            match self.place.as_mut().and_then(|(_, sink)| sink.try_next()) {
                Some(news) => self.take(news, collector),
                None if self.connections.are_none() => break,
                None => std::thread::sleep(Duration::from_millis(2)),
            }
        }
        for guest in self.connections.guests() {
            guest.finish(boot_ns(), false);
            count_losses(guest, collector);
        }
        self.hand_over(collector);
        if self.expected.is_empty() {
            self.connections.ignore_named();
        }
        let mut lost = 0;
        if let Some((_, sink)) = &mut self.place {
            for number in sink.close() {
                self.connections.not_taken(number);
            }
            lost = sink.lost();
        }
        let events = lost + self.connections.lost();
        collector.add_observed_loss(&LossReason::GuestQueueFull, LossCell { events, bytes: 0 });
    }
}

/// A sandbox has ended, or its trace session was deleted.
fn has_closed(mut guest: Guest, collector: &mut Collector) {
    let has_ended = has_ended(&collector.session, &guest);
    guest.finish(boot_ns(), has_ended);
    collector.take_guest(&guest.output());
    count_losses(&guest, collector);
}

fn count_losses(guest: &Guest, collector: &mut Collector) {
    for (reason, cell) in guest.losses() {
        collector.add_observed_loss(&reason, cell);
    }
}
