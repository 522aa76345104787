//! Flows: what was written to each object, what was read from it, and what is unread.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use tracer_common::{
    id::ProcessId,
    ledger::{READ, WRITE},
    loss::Reason,
    object::ObjectId,
};

use super::{
    Kind, Object, Session, named,
    witnesses::{Uncounted, Witnesses},
};
use crate::event::{BlockedCall, Look};

/// One process that wrote to or read from an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The process.
    pub process: ProcessId,
    /// Its name.
    pub comm: String,
    /// Bytes it moved.
    pub bytes: u64,
    /// Its latest call, nanoseconds since boot.
    pub last_ns: u64,
}

/// The account of one object: bytes written to it, and bytes read from its peer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flow {
    /// Writers, most bytes first.
    pub writers: Vec<Endpoint>,
    /// Readers, most bytes first.
    pub readers: Vec<Endpoint>,
    /// Bytes written while watched.
    pub written: u64,
    /// Bytes read while watched.
    pub read: u64,
    /// Unread bytes when the object came under watch, as the kernel side found them; `None` if it could not look.
    pub before: Option<u64>,
    /// Unread bytes when the kernel side looked last; `None` if it could not look, or if a call has changed their
    /// number since.
    pub inside: Option<u64>,
    /// Of a socket or terminal whose other end is unknown: bytes that had arrived when the kernel side looked last, and
    /// that no process has read. `None` if it could not look, or if a process has read since.
    pub incoming: Option<u64>,
    /// Bytes that a blocked write has already put into the pipe; they are not yet in the ledger.
    pub in_flight: u64,
    /// Unread bytes; `None` if unknown or if the object does not hold bytes.
    pub unread: Option<u64>,
    /// Whether `before + written + in_flight = read + inside`; `None` if no look proves it.
    pub balanced: Option<bool>,
    /// Whether no look and no count contradicts `unread`: without a look at the end, it is computed.
    pub is_consistent: bool,
    /// Why the counts of this object may be wrong.
    pub doubts: Vec<Reason>,
}

/// The flows of all objects, computed in one pass over the ledger.
#[derive(Clone, Debug, Default)]
pub struct Flows {
    flows: BTreeMap<ObjectId, Flow>,
    /// Bytes that passed tracer unseen.
    pub uncounted: Vec<Uncounted>,
    /// For an object without a row in the ledger.
    empty: Flow,
}

/// One direction of one object: the processes and the latest call.
#[derive(Default)]
struct End {
    endpoints: Vec<Endpoint>,
    last_ns: u64,
    /// The latest call on an fd through which bytes moved.
    moved_ns: u64,
    /// The latest call on an fd through which a call returned 0: it found the end of the data, or asked for no byte.
    empty_ns: Option<u64>,
    /// [`LedgerRow::doubts`](tracer_common::ledger::LedgerRow) of all rows.
    doubts: u32,
}

impl End {
    fn doubted(mut self, doubts: u32) -> Self {
        self.doubts |= doubts;
        self
    }
}

impl Flows {
    /// Adds up the ledger of a session.
    #[must_use]
    pub fn of(session: &Session) -> Self {
        let mut ends = ends(session);
        let (blocked, unseen) = (blocked_ends(session), unseen(session));
        let witnesses = Witnesses::of(session);
        let ids: Vec<ObjectId> = session
            .objects
            .keys()
            .copied()
            .chain(ends.keys().map(|(object, _)| *object))
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect();
        let flows = ids
            .into_iter()
            .map(|id| {
                let put_in = ends.remove(&(id, WRITE)).unwrap_or_default();
                let taken_out = match session.objects.get(&id).map(|object| object.kind) {
                    // Bytes read from a socket or terminal itself were written to its unknown other half.
                    Some(Kind::Socket | Kind::Pty) if !session.is_joined(&id) => End::default(),
                    _ => ends.remove(&(session.peer(&id), READ)).unwrap_or_default(),
                };
                let blocked = BlockedEnds {
                    writer: blocked.contains(&(id, WRITE)),
                    reader: blocked.contains(&(session.peer(&id), READ)),
                };
                let put_in = put_in.doubted(witnesses.doubts.get(&id).copied().unwrap_or(0));
                let mut flow = Flow::close(session, &id, put_in, taken_out, blocked);
                if !session.is_joined(&id) {
                    let last_read = ends.get(&(id, READ)).map_or(0, |end| end.last_ns);
                    flow.incoming = session.incoming_seen(&id, last_read);
                }
                if flow.balanced == Some(false) && flow.may_be_blocked(&unseen) {
                    flow.balanced = None;
                }
                (id, flow)
            })
            .collect();
        Self { flows, uncounted: witnesses.uncounted, empty: Flow::default() }
    }

    /// The flow of one object; empty if the ledger has no row of it.
    #[must_use]
    pub fn get(&self, object: &ObjectId) -> &Flow {
        self.flows.get(object).unwrap_or(&self.empty)
    }
}

/// Whether a thread is blocked in a call on an object. Such a call has moved a part of its bytes, perhaps, and is counted
/// when it returns.
#[derive(Clone, Copy)]
struct BlockedEnds {
    /// In a write: the pipe is full.
    writer: bool,
    /// In a read: with `MSG_WAITALL` it has taken what there was.
    reader: bool,
}

/// Objects on which a thread is blocked, and the direction of its call.
fn blocked_ends(session: &Session) -> BTreeSet<(ObjectId, u32)> {
    let direction = |call| match call {
        BlockedCall::Write => Some(WRITE),
        BlockedCall::Read => Some(READ),
        BlockedCall::Open | BlockedCall::Lock | BlockedCall::Stopped | BlockedCall::Other => None,
    };
    let blocked = session.blocked.iter();
    blocked.filter_map(|thread| thread.object.zip(direction(thread.call))).collect()
}

/// Processes of which it is not known in which calls their threads were blocked; the default stands for all.
fn unseen(session: &Session) -> BTreeSet<ProcessId> {
    let looks = session.not_seen.iter().filter(|unseen| unseen.look == Look::Threads);
    looks.map(|unseen| unseen.process).collect()
}

/// The ledger by object and direction, endpoints with the most bytes first.
fn ends(session: &Session) -> BTreeMap<(ObjectId, u32), End> {
    let mut sums: BTreeMap<(ObjectId, u32, ProcessId), (u64, u64)> = BTreeMap::new();
    let mut ends: BTreeMap<(ObjectId, u32), End> = BTreeMap::new();
    for (key, row) in &session.ledger {
        let sum = sums.entry((key.object, key.direction, key.process)).or_default();
        *sum = (sum.0 + row.bytes, sum.1.max(row.last_ns));
        let end = ends.entry((key.object, key.direction)).or_default();
        end.doubts |= row.doubts;
        if row.bytes > 0 {
            end.moved_ns = end.moved_ns.max(row.last_ns);
        }
        if row.zero > 0 {
            end.empty_ns = end.empty_ns.max(Some(row.last_ns));
        }
    }
    for ((object, direction, process), (bytes, last_ns)) in sums {
        let comm = session.processes.get(&process).map(|process| process.comm.clone());
        let end = ends.entry((object, direction)).or_default();
        end.endpoints.push(Endpoint { process, comm: comm.unwrap_or_default(), bytes, last_ns });
        end.last_ns = end.last_ns.max(last_ns);
    }
    for end in ends.values_mut() {
        end.endpoints.sort_by_key(|endpoint| (Reverse(endpoint.bytes), endpoint.process));
    }
    ends
}

impl Flow {
    /// Computes totals and balance.
    fn close(
        session: &Session,
        id: &ObjectId,
        put_in: End,
        taken_out: End,
        blocked: BlockedEnds,
    ) -> Self {
        let last_ns = put_in.last_ns.max(taken_out.last_ns);
        let total = |end: &End| end.endpoints.iter().map(|endpoint| endpoint.bytes).sum::<u64>();
        let (written, read) = (total(&put_in), total(&taken_out));
        let doubts = put_in.doubts | taken_out.doubts;
        let mut flow = Self {
            doubts: Reason::ALL.into_iter().filter(|why| doubts & why.bit() != 0).collect(),
            written,
            read,
            writers: put_in.endpoints,
            readers: taken_out.endpoints,
            before: before(session, id),
            ..Self::default()
        };
        flow.inside = flow.look(session, id, last_ns);
        // The end of the data comes after all bytes. A call before them asked for none, or came before the writer.
        let moved_ns = put_in.moved_ns.max(taken_out.moved_ns);
        let at_end = taken_out.empty_ns.is_some_and(|empty_ns| empty_ns >= moved_ns);
        if session.object_kind(id).is_pipe() || session.is_joined_socket(id) {
            flow.account(session, id, at_end, blocked);
        } else {
            // Readers of an unknown other end are not counted, and a terminal changes the number of bytes.
            flow.unread = flow.inside.or_else(|| flow.left_in_terminal(session, id));
        }
        flow
    }

    /// Bytes that the kernel side found after the latest call, which were written to the object and not read.
    fn look(&self, session: &Session, id: &ObjectId, last_ns: u64) -> Option<u64> {
        let seen = session.queue_seen(id).filter(|seen| seen.time_ns >= last_ns)?;
        let is_counted = session.object_kind(id).is_pipe() || session.is_joined(id);
        // The reads of an unknown other end are not counted: it may have read since. It has not after the survey with
        // which the trace ends.
        let is_final = || session.holders(id).any(|held| held.time_ns == seen.time_ns);
        (is_counted || seen.state.unread == 0 || is_final()).then_some(seen.state.unread)
    }

    /// Bytes that were in a terminal when its master was closed, at least: the terminal can only add bytes to those that
    /// are written to it (`ONLCR`, termios(3)).
    fn left_in_terminal(&self, session: &Session, id: &ObjectId) -> Option<u64> {
        let is_terminal = session.object_kind(id) == Kind::Pty && session.is_joined(id);
        let is_known = session.was_created_here(id) || self.before == Some(0);
        let left = self.written.saturating_sub(self.read);
        let is_closed = || session.last_closer(&session.peer(id)).is_some();
        (is_terminal && is_known && left > 0 && is_closed()).then_some(left)
    }

    /// Computes unread bytes and balance of an object whose writers and readers are all counted.
    fn account(&mut self, session: &Session, id: &ObjectId, at_end: bool, blocked: BlockedEnds) {
        let Some(supply) = self.before.map(|before| before.saturating_add(self.written)) else {
            self.unread = self.inside;
            return;
        };
        let object = session.objects.get(id);
        let unseen = object.map_or(0, |object| object.taken_unseen);
        let is_stream = object.is_some_and(Object::is_byte_stream);
        let unread = supply.saturating_sub(self.read.saturating_add(unseen));
        self.unread = Some(unread);
        self.is_consistent = unseen == 0 && self.read <= supply;
        match self.inside {
            // A read that is shorter than a packet discards its rest, which is in no queue and was read by no process.
            Some(inside) if !is_stream && supply > self.read + inside => {}
            // The reader that is blocked may have taken the difference.
            Some(inside) if blocked.reader && supply > self.read + inside => {
                self.unread = Some(inside);
            }
            Some(inside) => self.check((supply, inside), blocked.writer),
            None if unseen > 0 || self.read > supply => {
                self.balanced = self.verdict(false);
            }
            // A call that found the end of the data is a look as well.
            None if at_end && is_stream && self.read == supply => {
                self.balanced = self.verdict(true);
            }
            None => {}
        }
    }

    /// Checks the counts against the number of bytes that the kernel side found after the latest call.
    fn check(&mut self, (supply, inside): (u64, u64), is_waited_for: bool) {
        if is_waited_for {
            // A blocked write has already put in what fits; it is counted when it returns.
            self.in_flight = (self.read + inside).saturating_sub(supply);
        }
        let adds_up = supply + self.in_flight == self.read + inside;
        self.is_consistent = adds_up;
        self.balanced = self.verdict(adds_up);
        self.unread = Some(inside);
    }

    /// The balance, if it can be judged. A pipe that held bytes when it came under watch may have had a blocked
    /// writer, whose whole call is counted when it returns; then a difference proves nothing.
    /// A doubtful count proves nothing either.
    fn verdict(&self, adds_up: bool) -> Option<bool> {
        let is_exact = self.doubts.is_empty() && self.before == Some(0);
        (adds_up || is_exact).then_some(adds_up)
    }

    /// Whether a process may be blocked in a call on the object without tracer's knowledge. What such a call has moved is
    /// not counted.
    fn may_be_blocked(&self, unseen: &BTreeSet<ProcessId>) -> bool {
        let mut users = self.writers.iter().chain(&self.readers);
        unseen.contains(&ProcessId::default())
            || !unseen.is_empty() && users.any(|user| unseen.contains(&user.process))
    }

    /// Whether any process moved bytes, or tried to.
    #[must_use]
    pub fn is_used(&self) -> bool {
        !self.writers.is_empty() || !self.readers.is_empty()
    }

    /// The readers that took bytes, as a phrase: `manager (pid 60)`.
    #[must_use]
    pub fn readers_in_words(&self) -> Option<String> {
        let names: Vec<String> = self
            .readers
            .iter()
            .filter(|endpoint| endpoint.bytes > 0)
            .map(|endpoint| named(&endpoint.comm, endpoint.process))
            .collect();
        match names.as_slice() {
            [] => None,
            [one] => Some(one.clone()),
            [first, rest @ ..] => Some(format!("{first} and {} more", rest.len())),
        }
    }
}

/// Unread bytes when the object came under watch.
fn before(session: &Session, id: &ObjectId) -> Option<u64> {
    let object = session.objects.get(id)?;
    (object.kind.passes_on() && object.queue.valid == 1).then_some(object.queue.unread)
}

#[cfg(test)]
mod tests;
