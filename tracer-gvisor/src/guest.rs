//! One sandbox: turns its messages into events and ledger rows of a session.

mod calls;
mod containers;
mod files;
mod processes;
mod raw;

use std::collections::BTreeMap;

use tracer_common::{
    event as layout,
    id::ProcessId,
    ledger::{LedgerKey, LedgerRow},
    loss::LossCell,
    object::{FdState, ObjectId},
    process::ROLE_TARGET,
};
use tracer_core::{
    event::{Event, EventKind, Sighting},
    session::LossReason,
};

use crate::{
    fds::{Fd, Fds},
    objects::{Number, Object, Objects},
    wire::{self, Context, Message},
};

/// Most processes that are known of one sandbox at a time.
const MOST_PROCESSES: usize = 65_536;
/// Most rows of one process.
const MOST_ROWS: usize = 4096;
/// Most rows of all processes that run.
const MOST_ROWS_OF_ALL: usize = 262_144;
/// Most calls that have begun and not returned.
const MOST_PENDING: usize = 65_536;
/// Most threads that are known of one process.
const MOST_THREADS: usize = 65_536;

/// What a sandbox is, for its events.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Number of the sandbox in the session, from 1 on.
    pub number: u32,
    /// gVisor's kernel: the process of this machine in which the guests run.
    pub sentry: ProcessId,
    /// Id of its first container.
    pub container: String,
    /// Real time minus time since boot, in nanoseconds: gVisor gives the former, a session has the latter.
    pub real_minus_boot_ns: i64,
    /// Which fds the user asked for: bit n is fd n.
    pub fds: u64,
    /// Whether the user asked for every fd.
    pub all_fds: bool,
}

/// What came out of messages.
#[derive(Debug, Default)]
pub struct Output {
    /// Events, in the order in which they are to be applied.
    pub events: Vec<Event>,
    /// Rows of processes that have ended, or parts of them.
    pub rows: Vec<(LedgerKey, LedgerRow)>,
}

/// A guest process.
#[derive(Debug)]
struct Process {
    id: ProcessId,
    /// Number of its container: the place in [`Guest::containers`].
    container: u32,
    comm: String,
    /// Whether no message and no list has told its start: what it has open is found out by its calls.
    is_stranger: bool,
    /// The standard streams of a stranger, as far as its calls have told them.
    streams: [FdState; 3],
    fds: Fds,
    /// Threads that run; `None` if it was there before the trace session.
    threads: Option<std::collections::BTreeSet<i32>>,
    /// How its first thread ended.
    status: Option<i32>,
    /// By object, fd and direction. Calls on an fd that is not open have no object.
    rows: BTreeMap<(Option<Number>, i32, u32), LedgerRow>,
    /// Facts that may still be told of its image.
    facts_left: u32,
    nonblocking: bool,
}

/// A call that has begun.
#[derive(Clone, Copy, Debug)]
struct Pending {
    fd: i32,
    count: u64,
    /// Whether `count` is bytes.
    is_bytes: bool,
}

/// One sandbox.
#[derive(Debug)]
pub struct Guest {
    identity: Identity,
    /// The ids of the containers, as far as they are known.
    containers: Vec<Option<Vec<u8>>>,
    processes: BTreeMap<i32, Process>,
    objects: Objects,
    /// Rows of all processes.
    open_rows: usize,
    /// Calls in which threads may be blocked, by process and thread.
    pending: BTreeMap<(i32, i32), Pending>,
    losses: BTreeMap<LossReason, LossCell>,
    /// Messages that the sandbox has dropped.
    dropped: u32,
    /// Nanoseconds since boot of the latest message.
    latest_ns: u64,
    /// Whether the first container's standard streams are known.
    has_streams: bool,
    /// Whether a process appeared whose start was not told, since the last call of [`Guest::has_strangers`].
    has_strangers: bool,
    out: Output,
}

impl Guest {
    /// A sandbox of which nothing is known yet.
    #[must_use]
    pub fn new(identity: Identity) -> Self {
        let objects = Objects::new(identity.number);
        Self {
            containers: vec![Some(identity.container.clone().into_bytes())],
            identity,
            processes: BTreeMap::new(),
            objects,
            open_rows: 0,
            pending: BTreeMap::new(),
            losses: BTreeMap::new(),
            dropped: 0,
            latest_ns: 0,
            has_streams: false,
            has_strangers: false,
            out: Output::default(),
        }
    }

    /// gVisor's kernel, in which the guests run.
    #[must_use]
    pub const fn sentry(&self) -> ProcessId {
        self.identity.sentry
    }

    /// Whether a process appeared since the last call whose start was not told: the runtime started it in a running
    /// container, or the message was dropped. [`Guest::lists`] gets to know it.
    pub fn has_strangers(&mut self) -> bool {
        std::mem::take(&mut self.has_strangers)
    }

    /// Takes one packet of the sandbox.
    pub fn take(&mut self, packet: &[u8]) {
        match wire::decode(packet) {
            Ok(packet) => {
                self.dropped = self.dropped.max(packet.dropped);
                self.message(packet.message);
            }
            Err(_) => self.lose(LossReason::GuestUnreadable, 0),
        }
    }

    /// What came out since the last call.
    pub fn output(&mut self) -> Output {
        std::mem::take(&mut self.out)
    }

    /// The trace ends, or the sandbox has ended: rows, holders and blocked threads of the processes that still run. The
    /// last [`Guest::output`] has them.
    pub fn finish(&mut self, time_ns: u64, has_ended: bool) {
        let tgids: Vec<i32> = self.processes.keys().copied().collect();
        if has_ended {
            for tgid in tgids {
                // The first process of a sandbox has no parent that would be told.
                let status = self.processes.get(&tgid).and_then(|process| process.status);
                self.end_process(tgid, status, time_ns);
            }
            return;
        }
        self.tell_blocked_threads(time_ns);
        for tgid in tgids {
            self.tell_holders(tgid, time_ns);
            self.flush_rows(tgid);
        }
    }

    /// What could not be recorded so far, by reason.
    #[must_use]
    pub fn losses(&self) -> Vec<(LossReason, LossCell)> {
        let counted = self.losses.iter().map(|(reason, cell)| (reason.clone(), *cell));
        let own = [
            (LossReason::GuestDropped, u64::from(self.dropped)),
            (LossReason::GuestTablesFull, self.objects.refused),
        ];
        let own = own.map(|(reason, events)| (reason, LossCell { events, bytes: 0 }));
        counted.chain(own).filter(|(_, cell)| cell.events > 0).collect()
    }

    fn lose(&mut self, reason: LossReason, bytes: u64) {
        let cell = self.losses.entry(reason).or_default();
        cell.events += 1;
        cell.bytes = cell.bytes.saturating_add(bytes);
    }

    fn message(&mut self, message: Message) {
        if self.objects.are_too_many() {
            self.forget_objects();
        }
        match message {
            Message::Start(start) => self.started(start),
            Message::Clone(clone) => self.cloned(clone),
            Message::Exec(exec) => self.executed(&exec),
            Message::ProcessEnded(ended) => self.process_ended(&ended),
            Message::ThreadEnded(ended) => self.thread_ended(&ended),
            Message::Read(call) => self.transferred(&call, tracer_common::ledger::READ),
            Message::Write(call) => self.transferred(&call, tracer_common::ledger::WRITE),
            Message::Raw(call) => self.raw(&call),
            Message::Open(call) => self.opened(&call),
            Message::Close(call) => self.closed(&call),
            Message::Connect(call) => self.connected(&call),
            Message::Execve(call) => self.exec_returned(&call),
            Message::Socket(call) => self.socket(&call),
            Message::SocketPair(call) => self.socket_pair(&call),
            Message::Accept(call) => self.accepted(&call),
            Message::Pipe(call) => self.pipe(&call),
            Message::Fcntl(call) => self.fcntl(&call),
            Message::Dup(call) => self.duplicated(&call),
            Message::Other => {}
        }
    }

    /// Makes room for objects: a sandbox opens new ones for as long as it runs.
    fn forget_objects(&mut self) {
        let in_use = self.processes.values().flat_map(|process| {
            let open = process.fds.iter().map(|(_, fd)| fd.object);
            open.chain(process.rows.keys().filter_map(|(object, ..)| *object))
        });
        self.objects.forget(&in_use.collect());
    }

    /// Nanoseconds since boot.
    fn boot_ns(&self, real_ns: i64) -> u64 {
        let boot = real_ns.saturating_sub(self.identity.real_minus_boot_ns);
        u64::try_from(boot).unwrap_or(0)
    }

    fn time(&mut self, context: &Context) -> u64 {
        self.latest_ns = self.boot_ns(context.time_ns);
        self.latest_ns
    }

    fn emit(&mut self, time_ns: u64, kind: EventKind) {
        self.out.events.push(Event { time_ns, kind });
    }

    /// Whether the user asked for this fd.
    const fn is_wanted(&self, fd: i32) -> bool {
        self.identity.all_fds || 0 <= fd && fd < 64 && self.identity.fds >> fd & 1 == 1
    }

    fn state(&self, fd: Option<Fd>) -> FdState {
        let known = fd.and_then(|fd| Some((fd, self.objects.get(fd.object)?)));
        known.map_or_else(FdState::default, |(fd, object)| FdState {
            object: object.id.unwrap_or_default(),
            mode: object.mode(),
            flags: fd.flags,
        })
    }

    /// What fd 0, 1 and 2 of a process lead to. They are watched from now on.
    fn stdio(&mut self, tgid: i32, time_ns: u64) -> [FdState; 3] {
        [0, 1, 2].map(|number| {
            let process = self.processes.get(&tgid);
            let fd = process.and_then(|process| process.fds.get(number));
            if let Some(fd) = fd {
                self.watch(fd.object, time_ns);
            }
            self.state(fd)
        })
    }

    /// Puts an object under watch.
    fn watch(&mut self, number: Number, time_ns: u64) {
        let Some(object) = self.objects.get_mut(number).filter(|object| !object.is_watched) else {
            return;
        };
        object.is_watched = true;
        if object.id.is_some() {
            self.announce(number, time_ns);
        }
    }

    /// Describes a watched object whose name is known: what it is, who can read from it, and what was moved before.
    fn announce(&mut self, number: Number, time_ns: u64) {
        let Some(object) = self.objects.get_mut(number) else { return };
        let early = std::mem::take(&mut object.early);
        let (id, created_ns) = (object.id.unwrap_or_default(), object.created_ns);
        let (peer, own_name) = (object.peer, object.name.clone());
        if let Some(peer) = peer {
            self.objects.name_peer(peer, &own_name);
        }
        let peer_id = peer.and_then(|peer| self.objects.id(peer));
        let Some(object) = self.objects.get(number) else { return };
        let (description, name) = object.describe(peer_id);
        let since = created_ns.unwrap_or(time_ns);
        self.emit(since, EventKind::Object { object: description, name });
        let sighting = if created_ns.is_some() { Sighting::Created } else { Sighting::Open };
        for (tgid, fd, open) in self.read_ends(number) {
            self.tell_end(tgid, fd, open, sighting, since);
        }
        for (key, row) in early {
            self.out.rows.push((LedgerKey { object: id, ..key }, row));
        }
        if let Some(peer) = peer {
            self.watch(peer, time_ns);
        }
    }

    /// Whether an fd is the read end of something whose reader is worth knowing.
    fn is_read_end(&self, fd: Fd) -> bool {
        fd.reads() && self.objects.get(fd.object).is_some_and(Object::passes_on)
    }

    /// The read ends of an object: processes and fds.
    fn read_ends(&self, number: Number) -> Vec<(i32, i32, Fd)> {
        let passes_on = self.objects.get(number).is_some_and(Object::passes_on);
        if !passes_on {
            return Vec::new();
        }
        let all = self.processes.iter().flat_map(|(tgid, process)| {
            process.fds.iter().map(move |(fd, open)| (*tgid, fd, open))
        });
        all.filter(|(_, _, open)| open.object == number && open.reads()).collect()
    }

    /// Tells of one end of a watched object.
    fn tell_end(&mut self, tgid: i32, fd: i32, open: Fd, sighting: Sighting, time_ns: u64) {
        let is_told = self.objects.get(open.object).is_some_and(|object| object.is_watched);
        let state = self.state(Some(open));
        let Some(process) = self.processes.get(&tgid).filter(|_| is_told) else { return };
        if state.object == ObjectId::NONE {
            return;
        }
        let holder = layout::Holder {
            process: process.id,
            state,
            fd,
            role: ROLE_TARGET,
            ..layout::Holder::default()
        };
        let comm = process.comm.clone();
        self.emit(time_ns, EventKind::Holder { holder, comm, sighting });
    }

    fn tell_holders(&mut self, tgid: i32, time_ns: u64) {
        let Some(process) = self.processes.get(&tgid) else { return };
        let open: Vec<(i32, Fd)> = process.fds.iter().collect();
        for (number, fd) in open {
            self.tell_end(tgid, number, fd, Sighting::Open, time_ns);
        }
    }
}

#[cfg(test)]
mod tests;
