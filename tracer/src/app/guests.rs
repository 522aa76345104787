//! The gVisor sandboxes of a trace: who looks into them, and what they tell.

use std::{
    collections::{BTreeMap, VecDeque},
    io::{self, Write as _},
    time::{Duration, Instant},
};

use bytes::Bytes;
use jiff::Timestamp;
use tracer_common::{id::ProcessId, loss::LossCell};
use tracer_core::{
    event::{EventKind, HandedIn, Sandbox},
    session::{LossReason, Session},
    text::escape,
};
use tracer_gvisor::{
    Guest, Identity,
    sink::{News, NewsKind, Sink},
};
use tracer_loader::boot_ns;

use super::{AppError, collect::Collector, stderr};
use crate::{
    gvisor::{Folder, Keeper, Opened, Runtime, SandboxProcess},
    settings::Settings,
};

/// The first fd that gVisor's kernel gives to files that are handed in (`runsc/boot`, `startingStdioFD`).
const FIRST_HANDED_IN: i32 = 256;
/// How long messages may wait until it is known which sandbox sends them.
const UNKNOWN_FOR: Duration = Duration::from_secs(5);
/// The most messages of one sandbox that wait so.
const MOST_WAITING: usize = 100_000;
/// How long sandboxes may take at the end to send the rest.
const REST: Duration = Duration::from_millis(500);
/// The most processes that are asked about: any program can have the name of a sandbox.
const MOST_ASKED: usize = 1024;
/// How many messages are taken at a time.
const BATCH: usize = 1024;

/// A connection of a sandbox.
struct Connection {
    since: Instant,
    guest: Option<Guest>,
    /// Messages from before it is known which sandbox this is.
    waiting: Vec<Bytes>,
    /// Whether it is a sandbox that does not belong to the target.
    is_foreign: bool,
    is_closed: bool,
}

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
    /// Processes that the keeper was asked about.
    asked: BTreeMap<u32, ProcessId>,
    expected: VecDeque<Expected>,
    connections: BTreeMap<u32, Connection>,
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
            expected: VecDeque::new(),
            connections: BTreeMap::new(),
            fds: kernel.fd_mask,
            all_fds: kernel.all_fds,
            wants_bytes: settings.capture.is_some(),
        })
    }

    /// Listens for sandboxes whose runtime is configured to send to tracer.
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
                let sink = Sink::listen(&folder.socket(), &Folder::shared_socket())?;
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
        let is_known = self.asked.contains_key(&process.tgid) || self.asked.len() >= MOST_ASKED;
        if self.keeper.is_none() || self.is_configured || is_known {
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
            self.news(news, &collector.session);
            next = self.place.as_mut().and_then(|(_, sink)| sink.try_next());
        }
        if let Some(news) = next {
            self.news(news, &collector.session);
        }
        self.hand_over(collector);
    }

    /// Takes answers of the helper, and finds out which sandbox a connection belongs to.
    pub(super) fn tick(&mut self, collector: &mut Collector) {
        for process in collector.new_sandboxes() {
            self.look_into(process);
        }
        let answers = self.keeper.as_mut().map(Keeper::answers).unwrap_or_default();
        for Opened { pid, result } in answers {
            let sentry = self.asked.get(&pid).copied().unwrap_or_default();
            match result {
                Ok(None) => {}
                Ok(Some((sandbox, procfs))) => {
                    self.expected.push_back(Expected { sentry, sandbox, procfs });
                }
                // It sends from its first instruction on.
                Err(_) if self.is_seen(sentry) => {}
                Err(why) => {
                    tracing::warn!(
                        "cannot look into the gVisor sandbox of pid {pid}: {}",
                        escape(&why)
                    );
                }
            }
        }
        let unknown = self
            .connections
            .iter()
            .filter(|(_, connection)| connection.guest.is_none() && !connection.is_foreign);
        let unknown: Vec<u32> = unknown.map(|(number, _)| *number).collect();
        for number in unknown {
            self.identify(number, collector);
        }
        self.hand_over(collector);
    }

    fn is_seen(&self, sentry: ProcessId) -> bool {
        let mut guests =
            self.connections.values().filter_map(|connection| connection.guest.as_ref());
        guests.any(|guest| guest.sentry() == sentry)
    }

    fn news(&mut self, News { sandbox, kind }: News, session: &Session) {
        let new = || Connection {
            since: Instant::now(),
            guest: None,
            waiting: Vec::new(),
            is_foreign: false,
            is_closed: false,
        };
        let connection = self.connections.entry(sandbox).or_insert_with(new);
        match kind {
            NewsKind::Connected => {}
            NewsKind::Message(message) => match &mut connection.guest {
                Some(guest) => guest.take(&message),
                None if connection.is_foreign => {}
                None if connection.waiting.len() < MOST_WAITING => connection.waiting.push(message),
                None => {}
            },
            NewsKind::Closed => {
                connection.is_closed = true;
                if let Some(guest) = &mut connection.guest {
                    let has_ended = has_ended(session, guest.sentry());
                    guest.finish(boot_ns(), has_ended);
                }
            }
        }
    }

    /// Finds out which sandbox a connection belongs to, and applies what has waited.
    fn identify(&mut self, number: u32, collector: &mut Collector) {
        let Some(connection) = self.connections.get(&number) else { return };
        let container =
            connection.waiting.first().and_then(|message| tracer_gvisor::container_of(message));
        let is_late = connection.since.elapsed() > UNKNOWN_FOR;
        let by_id = |expected: &Expected| container.as_ref() == Some(&expected.sandbox.id);
        let place = self.expected.iter().position(by_id);
        // The first message may be about another container of the same sandbox.
        let place =
            place.or((!self.expected.is_empty() && (container.is_some() || is_late)).then_some(0));
        let (sentry, late, streams) = match place.and_then(|place| self.expected.get(place)) {
            Some(expected) => (expected.sentry, true, expected.sandbox.streams),
            // Its runtime is configured to send from the first instruction on.
            None => {
                let Some(id) = &container else { return };
                match sentry_of(&collector.session, id) {
                    Some((sentry, streams)) => (sentry, false, streams),
                    None if is_late => return self.ignore(number),
                    None => return,
                }
            }
        };
        let expected = place.and_then(|place| self.expected.remove(place));
        let identity = Identity {
            number,
            sentry,
            real_minus_boot_ns: real_minus_boot_ns(),
            fds: self.fds,
            all_fds: self.all_fds,
        };
        let mut guest = Guest::new(identity);
        // A terminal is handed in once, for all three.
        let files = (0..3).map(|fd| HandedIn {
            object: tracer_gvisor::handed_in(number, fd),
            fd: FIRST_HANDED_IN + if streams == 3 { fd } else { 0 },
        });
        let sandbox = Sandbox {
            number,
            container: expected
                .as_ref()
                .map_or(container.unwrap_or_default(), |expected| expected.sandbox.id.clone()),
            sentry,
            looked_late: late,
            handed_in: if matches!(streams, 1 | 3) { files.collect() } else { Vec::new() },
        };
        collector.observed([EventKind::Sandbox(sandbox)]);
        if std::mem::take(&mut self.wants_bytes) {
            tracing::warn!(
                "gVisor tells how many bytes its guests move, not which: captured is what passes from the sandbox \
                 to this machine"
            );
        }
        if let Some(expected) = expected {
            for running in tracer_gvisor::running(&expected.procfs) {
                guest.was_running(&running, boot_ns());
            }
        }
        let Some(connection) = self.connections.get_mut(&number) else { return };
        for message in std::mem::take(&mut connection.waiting) {
            guest.take(&message);
        }
        if connection.is_closed {
            guest.finish(boot_ns(), has_ended(&collector.session, sentry));
        }
        connection.guest = Some(guest);
    }

    /// Ignores a sandbox that does not belong to the target.
    fn ignore(&mut self, number: u32) {
        if let Some(connection) = self.connections.get_mut(&number) {
            connection.is_foreign = true;
            connection.waiting = Vec::new();
        }
    }

    /// Hands events and rows over to the session.
    fn hand_over(&mut self, collector: &mut Collector) {
        for connection in self.connections.values_mut() {
            if let Some(guest) = &mut connection.guest {
                collector.take_guest(&guest.output());
            }
        }
    }

    /// Whether every sandbox has closed its connection.
    pub(super) fn are_closed(&self) -> bool {
        self.connections.values().all(|connection| connection.is_closed || connection.is_foreign)
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
                None if self.connections.is_empty() => break,
                None => std::thread::sleep(Duration::from_millis(2)),
            }
        }
        let unidentified: usize =
            self.connections.values().map(|connection| connection.waiting.len()).sum();
        for connection in self.connections.values_mut() {
            let Some(guest) = &mut connection.guest else { continue };
            if !connection.is_closed {
                guest.finish(boot_ns(), false);
            }
            for (reason, cell) in guest.losses() {
                collector.add_observed_loss(&reason, cell);
            }
        }
        self.hand_over(collector);
        let lost = self.place.as_ref().map_or(0, |(_, sink)| sink.lost());
        let events = lost + unidentified as u64;
        collector.add_observed_loss(&LossReason::GuestQueueFull, LossCell { events, bytes: 0 });
    }
}

fn has_ended(session: &Session, sentry: ProcessId) -> bool {
    session.processes.get(&sentry).is_some_and(|process| process.end_ns.is_some())
        || !std::path::Path::new(&format!("/proc/{}", sentry.tgid)).exists()
}

/// The process of the session in which the sandbox of a container runs, and how many streams it was given.
fn sentry_of(session: &Session, id: &str) -> Option<(ProcessId, usize)> {
    let mut targets = session.processes.values().filter(|process| process.is_target);
    targets.find_map(|process| {
        let argv: Vec<String> = process.argv.to_vec();
        let sandbox =
            SandboxProcess::of(process.id.tgid, &argv).filter(|sandbox| sandbox.id == id)?;
        Some((process.id, sandbox.streams))
    })
}

/// Real time minus time since boot, in nanoseconds.
fn real_minus_boot_ns() -> i64 {
    let real = i64::try_from(Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX);
    real.saturating_sub(i64::try_from(boot_ns()).unwrap_or(i64::MAX))
}

/// Prints the configuration for runtimes whose sandboxes always send to tracer, and on standard error where it belongs.
///
/// # Errors
/// [`AppError`] if standard output cannot be written to.
pub fn gvisor_config() -> Result<(), AppError> {
    const WHERE: &str = "\
Save this as /etc/tracer-gvisor.json. Then add one option to runsc, and restart the engine:
  docker, in /etc/docker/daemon.json:
    {\"runtimes\": {\"runsc\": {\"path\": \"/usr/bin/runsc\",
      \"runtimeArgs\": [\"--pod-init-config=/etc/tracer-gvisor.json\"]}}}
  containerd, in /etc/containerd/runsc.toml (the ConfigPath of its runtime io.containerd.runsc.v1):
    [runsc_config]
      pod-init-config = \"/etc/tracer-gvisor.json\"
  by hand:
    runsc --pod-init-config=/etc/tracer-gvisor.json …";
    let config = tracer_gvisor::points::config(&Folder::shared_socket());
    stderr::say(WHERE);
    match writeln!(io::stdout(), "{config:#}") {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => {
            result.map_err(|source| AppError::Output { path: "standard output".into(), source })
        }
    }
}
