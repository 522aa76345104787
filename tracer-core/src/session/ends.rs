//! Read ends: which processes can read an object, and which ones closed their read end or ended.

use std::collections::{BTreeMap, BTreeSet};

use tracer_common::{
    id::ProcessId,
    object::{ObjectId, QueueState},
};

use super::{Holding, Session};

/// A read end that was closed.
#[derive(Clone, Debug, PartialEq)]
pub struct Close {
    /// The process.
    pub process: ProcessId,
    /// Its name.
    pub comm: String,
    /// Its fd.
    pub fd: i32,
    /// Nanoseconds since boot.
    pub time_ns: u64,
    /// Whether the process ended with the fd open, rather than closing it.
    pub by_exit: bool,
}

/// Closes of one object that are kept also of processes that are summed up: the last ones are the ones that matter.
const LATEST_CLOSES: usize = 16;

/// The read ends of all objects, indexed by fd and by object: a pipe can have as many read ends as there are
/// processes, so no query may walk over all of them.
#[derive(Clone, Debug, Default)]
pub(super) struct Ends {
    /// Open read ends, as known from events.
    open: BTreeMap<(ProcessId, i32), ObjectId>,
    /// Number of open read ends of each object.
    open_of: BTreeMap<ObjectId, usize>,
    /// Closed read ends, in order.
    closes: BTreeMap<ObjectId, Vec<Close>>,
    /// When each of them was closed last.
    closed_at: BTreeMap<(ObjectId, ProcessId, i32), u64>,
    /// Fds of living processes that were read ends and have been closed: the kernel side may still know what they
    /// led to.
    closed_fds: BTreeSet<(ProcessId, i32)>,
}

/// The open read ends of a session by object.
pub(super) struct EndsByObject(BTreeMap<ObjectId, Vec<(ProcessId, i32)>>);

impl EndsByObject {
    /// What `all`, from which this was made, has about these objects. Of the closes, those of these processes and the
    /// latest ones: every process that inherits a stream closes it.
    pub(super) fn about(
        &self,
        objects: &BTreeSet<ObjectId>,
        processes: &BTreeSet<ProcessId>,
        all: &Ends,
    ) -> Ends {
        let mut about = Ends::default();
        for object in objects {
            for (process, fd) in self.0.get(object).into_iter().flatten() {
                about.open(*process, *fd, *object);
            }
            let closes = all.closes.get(object).map_or(&[][..], Vec::as_slice);
            let latest = closes.len().saturating_sub(LATEST_CLOSES);
            for (index, close) in closes.iter().enumerate() {
                if index >= latest || processes.contains(&close.process) {
                    about.close(*object, close.clone());
                }
            }
        }
        about.closed_fds.clear();
        about
    }
}

impl Ends {
    fn open(&mut self, process: ProcessId, fd: i32, object: ObjectId) {
        self.forget(process, fd);
        self.closed_fds.remove(&(process, fd));
        self.open.insert((process, fd), object);
        *self.open_of.entry(object).or_default() += 1;
    }

    fn forget(&mut self, process: ProcessId, fd: i32) {
        let Some(object) = self.open.remove(&(process, fd)) else { return };
        if let Some(count) = self.open_of.get_mut(&object) {
            *count -= 1;
            if *count == 0 {
                self.open_of.remove(&object);
            }
        }
    }

    fn close(&mut self, object: ObjectId, close: Close) {
        self.forget(close.process, close.fd);
        if !close.by_exit {
            self.closed_fds.insert((close.process, close.fd));
        }
        let at = self.closed_at.entry((object, close.process, close.fd)).or_default();
        *at = close.time_ns.max(*at);
        self.closes.entry(object).or_default().push(close);
    }

    /// Number of closed read ends that are known.
    pub(super) fn number_of_closes(&self) -> usize {
        self.closed_at.len()
    }

    /// The read ends that a process has closed: fd and object.
    pub(super) fn closed_by(&self, process: ProcessId) -> impl Iterator<Item = (i32, ObjectId)> {
        let of = self.closed_at.keys().filter(move |(_, by, _)| *by == process);
        of.map(|(object, _, fd)| (*fd, *object))
    }

    /// The objects that have an open read end.
    pub(super) fn open_objects(&self) -> impl Iterator<Item = ObjectId> {
        self.open_of.keys().copied()
    }

    /// The open read ends by object.
    pub(super) fn by_object(&self) -> EndsByObject {
        let mut open: BTreeMap<ObjectId, Vec<(ProcessId, i32)>> = BTreeMap::new();
        for (end, object) in &self.open {
            open.entry(*object).or_default().push(*end);
        }
        EndsByObject(open)
    }

    /// The processes that have or had one of the read ends.
    pub(super) fn processes(&self) -> impl Iterator<Item = ProcessId> {
        let open = self.open.keys().map(|(process, _)| *process);
        open.chain(self.closed_at.keys().map(|(_, process, _)| *process))
    }

    /// Forgets an object that has ended.
    pub(super) fn forget_object(&mut self, object: &ObjectId) {
        for close in self.closes.remove(object).unwrap_or_default() {
            self.closed_at.remove(&(*object, close.process, close.fd));
        }
    }

    /// Forgets all but the latest closes of processes.
    pub(super) fn forget_processes(&mut self, gone: &BTreeSet<ProcessId>) {
        for closes in self.closes.values_mut() {
            let latest = closes.len().saturating_sub(LATEST_CLOSES);
            let mut number = 0;
            closes.retain(|close| {
                number += 1;
                number > latest || !gone.contains(&close.process)
            });
        }
        self.closed_at.retain(|(_, process, _), _| !gone.contains(process));
    }

    /// Whether a holder was seen before its fd was closed.
    fn gave_up(&self, object: &ObjectId, held: &Holding) -> bool {
        let closed = self.closed_at.get(&(*object, held.process, held.fd));
        closed.is_some_and(|closed_ns| *closed_ns >= held.time_ns)
    }
}

/// A look at the bytes that wait for a reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueSeen {
    /// Nanoseconds since boot.
    pub time_ns: u64,
    /// What the kernel side found.
    pub state: QueueState,
}

impl Session {
    /// Closed read ends of an object, in order.
    #[must_use]
    pub fn closes(&self, object: &ObjectId) -> &[Close] {
        self.ends.closes.get(object).map_or(&[], Vec::as_slice)
    }

    /// The close of the last known read end; `None` while one is still open.
    #[must_use]
    pub fn last_closer(&self, object: &ObjectId) -> Option<&Close> {
        let is_open =
            self.ends.open_of.contains_key(object) || self.holders(object).any(Holding::reads);
        if is_open { None } else { self.closes(object).last() }
    }

    /// Holders of an object according to the latest survey, without those that have closed it since.
    pub fn holders(&self, object: &ObjectId) -> impl Iterator<Item = &Holding> {
        let has_ended = |held: &Holding| {
            self.processes.get(&held.process).is_some_and(|process| process.end_ns.is_some())
        };
        let known = self.objects.get(object).into_iter().flat_map(|object| object.holders.iter());
        known.filter(move |held| !self.ends.gave_up(object, held) && !has_ended(held))
    }

    /// The latest look at the bytes that were written to an object and not read: from this end or from the other.
    #[must_use]
    pub fn queue_seen(&self, object: &ObjectId) -> Option<QueueSeen> {
        let here = self.queues.get(object);
        let there = self.joined.get(object).and_then(|peer| self.incoming.get(peer));
        here.into_iter().chain(there).max_by_key(|seen| seen.time_ns).copied()
    }

    /// Bytes that could be read from this end when the kernel side looked last, if it looked after this time.
    pub(super) fn incoming_seen(&self, object: &ObjectId, after_ns: u64) -> Option<u64> {
        let seen = self.incoming.get(object).filter(|seen| seen.time_ns >= after_ns)?;
        Some(seen.state.unread)
    }

    /// Whether an object that a target wrote to still has bytes, and a reader that can read them.
    #[must_use]
    pub fn has_bytes_underway(&self) -> bool {
        self.queues.keys().any(|object| {
            let known = self.objects.get(object).filter(|known| known.hop == 0);
            known.is_some_and(|known| known.kind.is_pipe() || self.is_joined(object))
                && self.queue_seen(object).is_some_and(|seen| seen.state.unread > 0)
                && self.holders(&self.peer(object)).any(Holding::reads)
        })
    }

    /// The open read ends of a process, as known from events: fds and objects.
    pub fn open_ends(&self, process: ProcessId) -> impl Iterator<Item = (i32, ObjectId)> {
        let range = (process, i32::MIN)..=(process, i32::MAX);
        self.ends.open.range(range).map(|((_, fd), object)| (*fd, *object))
    }

    /// The fds of a process that the kernel side may have in its table of read ends.
    pub fn known_ends(&self, process: ProcessId) -> impl Iterator<Item = i32> {
        let range = (process, i32::MIN)..=(process, i32::MAX);
        let closed = self.ends.closed_fds.range(range).map(|(_, fd)| *fd);
        self.open_ends(process).map(|(fd, _)| fd).chain(closed)
    }

    /// Notes that a process can read an object through this fd.
    pub(super) fn end_opened(&mut self, process: ProcessId, fd: i32, object: ObjectId) {
        self.ends.open(process, fd, object);
    }

    pub(super) fn end_closed(&mut self, object: ObjectId, close: Close) {
        self.ends.close(object, close);
    }

    /// Closes all read ends of a process that has ended.
    pub(super) fn close_ends_of(&mut self, process: ProcessId, comm: &str, time_ns: u64) {
        let open: Vec<(i32, ObjectId)> = self.open_ends(process).collect();
        let range = (process, i32::MIN)..=(process, i32::MAX);
        let closed: Vec<_> = self.ends.closed_fds.range(range).copied().collect();
        for end in closed {
            self.ends.closed_fds.remove(&end);
        }
        for (fd, object) in open {
            let close = Close { process, comm: comm.to_owned(), fd, time_ns, by_exit: true };
            self.end_closed(object, close);
        }
    }

    /// Notes a look at the bytes that were written to an object, and at those that can be read from it.
    pub(super) fn saw_queues(
        &mut self,
        object: ObjectId,
        written: QueueState,
        incoming: QueueState,
        time_ns: u64,
    ) {
        for (looks, state) in [(&mut self.queues, written), (&mut self.incoming, incoming)] {
            let known = looks.get(&object).map_or(0, |seen| seen.time_ns);
            if state.valid == 1 && time_ns >= known {
                looks.insert(object, QueueSeen { time_ns, state });
            }
        }
    }
}
