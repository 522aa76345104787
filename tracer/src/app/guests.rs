//! The gVisor sandboxes of a trace: who looks into them, and what they tell.

mod asked;
mod config;
mod connections;
mod identify;
mod kernels;

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::PathBuf,
    time::{Duration, Instant},
};

use tracer_common::{id::ProcessId, loss::LossCell};
use tracer_core::{session::LossReason, text::escape};
use tracer_gvisor::{
    Guest,
    sink::{Sink, SinkEvent, SinkEventKind},
};
use tracer_loader::{KernelSettings, boot_ns};

pub use self::config::gvisor_config;
pub(super) use self::kernels::real_minus_boot_ns;
use self::{
    asked::{Asked, MOST_ASKED, Next},
    connections::Connections,
    kernels::has_ended,
};
use super::{AppError, collect::Collector};
use crate::{
    gvisor::{Answer, AnswerKind, Folder, Inside, Keeper, Runtime},
    sys::{privileges::Rights, processes::exists},
};

/// How often to ask for the names of processes in one sandbox, at most.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How many messages are taken at a time.
const BATCH: usize = 1024;

/// A sandbox in which a session was made, and whose connection is not known yet.
struct Expected {
    sentry: ProcessId,
    inside: Inside,
}

/// The sandboxes of a trace.
pub(super) struct Guests {
    keeper: Option<Keeper>,
    place: Option<(Folder, Sink)>,
    /// The sandbox of the container that was sought.
    found: Option<u32>,
    /// Whether the command is `runsc` and got the configuration itself.
    is_configured: bool,
    asked: Asked,
    /// Whether it was said that the keeper is asked about no more of them.
    has_said_full: bool,
    expected: Vec<Expected>,
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
    /// `wants_bytes`: whether the user asked for output, not only for counts.
    pub(super) fn start(kernel: &KernelSettings, wants_bytes: bool) -> Result<Self, AppError> {
        let keeper = Runtime::find().map(|runtime| Keeper::fork(&runtime)).transpose();
        Ok(Self {
            keeper: keeper.map_err(|source| AppError::Runtime { source })?,
            place: None,
            found: None,
            is_configured: false,
            asked: Asked::default(),
            has_said_full: false,
            expected: Vec::new(),
            connections: Connections::default(),
            seen: BTreeSet::new(),
            numbers: 0,
            looked: BTreeMap::new(),
            fds: kernel.fd_mask,
            all_fds: kernel.all_fds,
            wants_bytes,
        })
    }

    /// Listens for sandboxes whose runtime is configured to send to tracer. To be called while tracer has all its
    /// capabilities ([`Sink::listen`]).
    pub(super) fn listen(&mut self) {
        if self.keeper.is_some()
            && let Err(error) = self.place()
        {
            // There may be no sandbox at all. The first one that is found is tried again, and told.
            tracing::debug!("cannot listen for gVisor sandboxes: {error}");
        }
    }

    /// The configuration for a `runsc` that tracer starts itself; its sandbox is then seen from its first instruction.
    /// `None` if this machine has no `runsc`, or if the socket cannot be made.
    pub(super) fn configuration(&mut self) -> Option<PathBuf> {
        self.keeper.as_ref()?;
        let config = self.place_or_say()?;
        self.is_configured = true;
        Some(config)
    }

    /// The configuration of a session, if there is a socket; else says why there is none.
    fn place_or_say(&mut self) -> Option<PathBuf> {
        let place = self.place();
        place.inspect_err(|error| tracing::warn!("cannot look into gVisor sandboxes: {error}")).ok()
    }

    /// The configuration of a session that sends to this tracer, which listens from now on.
    fn place(&mut self) -> io::Result<PathBuf> {
        if let Some((folder, _)) = &self.place {
            return Ok(folder.config());
        }
        let folder = Folder::make()?;
        let sink = Sink::listen(&folder.socket(), &Folder::shared_socket(), || {
            // Some systems do not let a thread lower its capabilities.
            let _ = Rights::None.take();
        })?;
        let (folder, _) = self.place.insert((folder, sink));
        Ok(folder.config())
    }

    /// Whether this machine has a `runsc` that can look into sandboxes.
    pub(super) const fn can_look(&self) -> bool {
        self.keeper.is_some()
    }

    /// Has the sandbox of a container looked for.
    pub(super) fn seek(&mut self, container: &str) {
        // A helper that is gone answers nothing.
        let _ = self.keeper.as_mut().map(|keeper| keeper.seek(container));
    }

    /// The sandbox of the container that was sought, once.
    pub(super) fn take_found(&mut self) -> Option<u32> {
        self.found.take()
    }

    /// Has a trace session made in the sandbox of this process, if it is one. The helper finds out: to read a command line
    /// can take for ever.
    pub(super) fn look_into(&mut self, process: ProcessId) {
        if self.keeper.is_none() || self.is_configured {
            return;
        }
        let mut next = self.asked.next(process);
        if next == Next::Full {
            self.forget_ended();
            next = self.asked.next(process);
        }
        match next {
            Next::Ask => {}
            Next::Wait => return,
            Next::Full => {
                if !std::mem::replace(&mut self.has_said_full, true) {
                    tracing::warn!(
                        "looks into {MOST_ASKED} gVisor sandboxes at most: those that start now are out of sight"
                    );
                }
                return;
            }
        }
        let Some(config) = self.place_or_say() else { return };
        self.asked.asks(process);
        if let Some(keeper) = &mut self.keeper
            && let Err(error) = keeper.open(process.tgid, &config)
        {
            tracing::warn!("cannot look into the gVisor sandbox of pid {}: {error}", process.tgid);
        }
    }

    /// Forgets sandboxes that have ended. A recorder sees thousands of them.
    fn forget_ended(&mut self) {
        self.asked.retain(exists);
        self.seen.retain(|sentry| exists(sentry.tgid));
        self.looked.retain(|pid, _| exists(*pid));
    }

    /// The next event. Waits for ever if no sandbox is listened to. Can be cancelled without a loss.
    pub(super) async fn next(&mut self) -> SinkEvent {
        if let Some((_, sink)) = &mut self.place
            && let Some(event) = sink.next().await
        {
            return event;
        }
        std::future::pending().await
    }

    /// Takes an event, and further ones that are there already.
    pub(super) fn take(&mut self, event: SinkEvent, collector: &mut Collector) {
        let mut next = Some(event);
        for _ in 0..BATCH {
            let Some(event) = next else { break };
            self.handle(event, collector);
            next = self.place.as_mut().and_then(|(_, sink)| sink.try_next());
        }
        if let Some(event) = next {
            self.handle(event, collector);
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
        for Answer { pid, kind } in answers {
            match kind {
                AnswerKind::Opened(result) => self.opened(pid, result),
                AnswerKind::Found => self.found = Some(pid),
                AnswerKind::Listed(Ok(procfs)) => self.listed(pid, &procfs),
                // Its strangers stay unknown.
                AnswerKind::Listed(Err(_)) => {}
            }
        }
        for number in self.connections.unknown() {
            self.identify(number, collector);
        }
        self.look_at_strangers();
        self.hand_over(collector);
    }

    /// A trace session was made, or could not be.
    fn opened(&mut self, pid: u32, result: Result<Option<Inside>, String>) {
        let sentry = self.asked.get(pid).unwrap_or_default();
        match result {
            Ok(None) => self.asked.is_none(pid).into_iter().for_each(|again| self.look_into(again)),
            Ok(Some(inside)) => self.expected.push(Expected { sentry, inside }),
            // It sends from its first instruction on.
            Err(_) if self.seen.contains(&sentry) => {}
            Err(why) => {
                let why = escape(&why);
                tracing::warn!("cannot look into the gVisor sandbox of pid {pid}: {why}");
            }
        }
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

    /// What runs in a sandbox now.
    fn listed(&mut self, pid: u32, procfs: &str) {
        for guest in self.connections.guests().filter(|guest| guest.sentry().tgid == pid) {
            let all = tracer_gvisor::running(procfs);
            all.iter().for_each(|running| guest.lists(running, boot_ns()));
        }
    }

    fn handle(&mut self, SinkEvent { sandbox, kind }: SinkEvent, collector: &mut Collector) {
        match kind {
            SinkEventKind::Connected(origin) => self.connections.connected(sandbox, origin),
            SinkEventKind::Message(message) => self.connections.message(sandbox, message),
            SinkEventKind::Closed => {
                let guest = self.connections.closed(sandbox);
                guest.into_iter().for_each(|guest| has_closed(*guest, collector));
            }
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

    /// Has the sessions deleted, takes the rest, and counts what was lost. The sandboxes may take at most this long.
    pub(super) fn finish(&mut self, collector: &mut Collector, at_most: Duration) {
        if let Some(keeper) = &self.keeper {
            keeper.close();
        }
        let began = Instant::now();
        while began.elapsed() < at_most && !(self.are_closed() && self.expected.is_empty()) {
            self.tick(collector);
            match self.place.as_mut().and_then(|(_, sink)| sink.try_next()) {
                Some(event) => self.take(event, collector),
                None if self.connections.are_none() => break,
                None => std::thread::sleep(Duration::from_millis(2)),
            }
        }
        for guest in self.connections.guests() {
            guest.finish(boot_ns(), false);
            count_losses(guest, collector);
        }
        self.hand_over(collector);
        self.connections.ignore_second();
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
