//! What is known before the end, and would be a finding of the report.
//!
//! The report decides: it knows more, and what is told here can still change. Each row and each object is told about
//! once.

use std::collections::{BTreeMap, BTreeSet};

use rustix::io::Errno;
use tracer_common::{
    event::FirstIo,
    id::ProcessId,
    ledger::{LedgerKey, LedgerRow, WRITE, error},
    object::ObjectId,
};
use tracer_core::{
    event::{BlockedCall, BlockedThread, Event, EventKind, Sighting},
    session::{Process, Session},
    text::{errno, units},
    verdict::Rule,
};

use super::sums::Sums;
use crate::render::{LiveEvent, place};

/// How many rows and objects are remembered as told. Further ones are left to the report.
const MOST_TOLD: usize = 4096;
/// For how long nothing may be read from the object of a blocked writer, in nanoseconds.
const STUCK_NS: u64 = 5_000_000_000;
/// How many writes without a reader wait for the record of its close.
const MOST_PUT_OFF: usize = 256;
/// How many generations above a process are looked at.
const GENERATIONS: usize = 64;

/// Name of the error of a write that no process can read.
const NO_READER: &str = "EPIPE";

/// A writer that was blocked at the latest look, by process, fd and object.
type Blocked = (ProcessId, i32, ObjectId);

/// What was told, and what was seen for it.
#[derive(Debug, Default)]
pub(super) struct Early {
    /// The latest target that wrote to each object.
    writers: BTreeMap<ObjectId, ProcessId>,
    /// Rows and objects that were told about.
    told: BTreeSet<(Option<Rule>, ProcessId, i32, ObjectId)>,
    /// Writers that were blocked at the latest look: bytes that were read from the object, and since when no more were.
    blocked: BTreeMap<Blocked, (u64, u64)>,
    /// Refused writes whose reader's close is not known yet, with their times in milliseconds.
    put_off: Vec<(LedgerKey, f64)>,
}

/// Whether a refused write has lost nothing yet: programs write such bytes again.
pub(super) fn is_for_the_moment(errno: u32) -> bool {
    [Errno::AGAIN, Errno::INTR].iter().any(|known| known.raw_os_error().unsigned_abs() == errno)
}

impl Early {
    /// Findings that an event shows.
    pub(super) fn of_event(&mut self, session: &Session, event: &Event) -> Option<LiveEvent> {
        let at_ms = session.since_start_ms(event.time_ns);
        match &event.kind {
            EventKind::FirstIo { first, .. } => self.first_io(session, at_ms, first),
            EventKind::Holder { holder, sighting: Sighting::Closed | Sighting::Left, .. } => {
                self.read_end_closed(session, at_ms, &holder.state.object)
            }
            _ => None,
        }
    }

    fn first_io(&mut self, session: &Session, at_ms: f64, first: &FirstIo) -> Option<LiveEvent> {
        let key = first.key;
        let writer = target(session, &key.process).filter(|_| key.direction == WRITE)?;
        if first.result >= 0 {
            self.writers.insert(key.object, key.process);
            return None;
        }
        let errno = u32::try_from(first.result.unsigned_abs()).ok()?;
        if is_for_the_moment(errno) {
            return None;
        }
        self.refused(session, &key, writer, at_ms, &errno::name(errno))
    }

    /// A finding about a row with refused writes.
    pub(super) fn of_row(
        &mut self,
        session: &Session,
        key: &LedgerKey,
        row: &LedgerRow,
    ) -> Option<LiveEvent> {
        let is_loss = |class: &usize| ![error::EAGAIN, error::EINTR].contains(&(*class as u32));
        let class = (0..error::COUNT).filter(is_loss).find(|class| row.errors[*class] > 0)?;
        let writer = target(session, &key.process).filter(|_| key.direction == WRITE)?;
        let name = if class as u32 == error::OTHER { "another error" } else { error::NAMES[class] };
        self.refused(session, key, writer, session.since_start_ms(row.last_ns), name)
    }

    fn refused(
        &mut self,
        session: &Session,
        key: &LedgerKey,
        writer: &Process,
        at_ms: f64,
        error: &str,
    ) -> Option<LiveEvent> {
        if error == NO_READER {
            match had_enough(session, &key.object, writer) {
                Some(true) => return None,
                Some(false) => {}
                None => {
                    let has_room = self.put_off.len() < MOST_PUT_OFF;
                    self.put_off.extend(has_room.then_some((*key, at_ms)));
                    return None;
                }
            }
        }
        self.could_not_write(session, key, writer, at_ms, error)
    }

    /// Findings about refused writes that were put off. Those whose reader had enough are none.
    pub(super) fn put_off(&mut self, session: &Session) -> Vec<LiveEvent> {
        let waiting = std::mem::take(&mut self.put_off);
        let told = waiting.into_iter().filter_map(|(key, at_ms)| {
            let writer = target(session, &key.process)?;
            if had_enough(session, &key.object, writer) == Some(true) {
                return None;
            }
            self.could_not_write(session, &key, writer, at_ms, NO_READER)
        });
        told.collect()
    }

    fn could_not_write(
        &mut self,
        session: &Session,
        key: &LedgerKey,
        writer: &Process,
        at_ms: f64,
        error: &str,
    ) -> Option<LiveEvent> {
        if !self.is_new(None, key.process, key.fd, key.object) {
            return None;
        }
        let object = session.object_name(&key.object);
        Some(LiveEvent::EarlyFinding {
            at_ms,
            rule: if error == NO_READER { Rule::ReaderGone } else { Rule::Refused },
            pid: key.process.tgid,
            command: writer.command(),
            fd: key.fd,
            message: format!("could not write to {}: {error}", place(key.fd, &object)),
            object,
        })
    }

    /// A read end was closed, or a process ended with it open: what is inside cannot be read any more, if no other
    /// process has a read end.
    fn read_end_closed(
        &mut self,
        session: &Session,
        at_ms: f64,
        read_from: &ObjectId,
    ) -> Option<LiveEvent> {
        let object = session.peer(read_from);
        let writer = session.processes.get(self.writers.get(&object)?)?;
        let inside = session.queue_seen(&object).map(|seen| seen.state)?;
        let close = session.last_closer(read_from)?;
        let is_last = inside.readers <= u32::from(close.by_exit);
        if inside.unread == 0 || !is_last || is_beside(session, close.process, writer) {
            return None;
        }
        if !self.is_new(Some(Rule::Unread), ProcessId::default(), -1, object) {
            return None;
        }
        let name = session.object_name(read_from);
        let how = if close.by_exit { "ended with" } else { "closed" };
        let bytes = units::bytes(inside.unread);
        Some(LiveEvent::EarlyFinding {
            at_ms,
            rule: Rule::Unread,
            pid: close.process.tgid,
            command: close.comm.clone(),
            fd: close.fd,
            message: format!("{how} the last known read end of {name}, {bytes} are inside"),
            object: name,
        })
    }

    /// Findings about writers that are still blocked, while nothing was read from their objects for [`STUCK_NS`].
    /// `asked`: the processes that were looked at, and those of their threads that are blocked.
    pub(super) fn stuck(
        &mut self,
        session: &Session,
        (asked, threads): (&[ProcessId], &[BlockedThread]),
        sums: &Sums,
        now_ns: u64,
    ) -> Vec<LiveEvent> {
        let now = self.still_blocked(session, threads, sums, now_ns);
        // A large tree is looked at in turn.
        self.blocked.retain(|(process, ..), _| !asked.contains(process));
        self.blocked.extend(&now);
        let is_stuck = |since_ns: u64| now_ns.saturating_sub(since_ns) >= STUCK_NS;
        let stuck = now.into_iter().filter(|(_, (_, since_ns))| is_stuck(*since_ns));
        let told = stuck.filter_map(|((process, fd, object), (_, since_ns))| {
            let writer = target(session, &process)?;
            if !self.is_new(Some(Rule::Stuck), process, fd, object) {
                return None;
            }
            let name = session.object_name(&object);
            let (place, time) = (place(fd, &name), units::span(now_ns, since_ns));
            Some(LiveEvent::EarlyFinding {
                at_ms: session.since_start_ms(now_ns),
                rule: Rule::Stuck,
                pid: process.tgid,
                command: writer.command(),
                fd,
                object: name,
                message: format!(
                    "is blocked writing to {place}, from which nothing was read for {time}"
                ),
            })
        });
        told.collect()
    }

    /// The writers among blocked threads: bytes that were read from the object, and since when no more were.
    fn still_blocked(
        &self,
        session: &Session,
        threads: &[BlockedThread],
        sums: &Sums,
        now_ns: u64,
    ) -> BTreeMap<Blocked, (u64, u64)> {
        let writes = threads.iter().filter(|thread| thread.call == BlockedCall::Write);
        let blocked = writes.filter_map(|thread| {
            let object = thread.object.filter(|id| session.object_kind(id).passes_on())?;
            let (writer, read) = ((thread.process, thread.fd, object), sums.read_from(&object));
            let before = self.blocked.get(&writer).filter(|(known, _)| *known == read);
            Some((writer, (read, before.map_or(now_ns, |(_, since_ns)| *since_ns))))
        });
        blocked.collect()
    }

    /// Forgets objects that have ended.
    pub(super) fn forget_ended(&mut self, is_there: impl Fn(&ObjectId) -> bool) {
        self.writers.retain(|object, _| is_there(object));
        self.blocked.retain(|(_, _, object), _| is_there(object));
    }

    /// Whether this was not told yet, and may be.
    fn is_new(
        &mut self,
        rule: Option<Rule>,
        process: ProcessId,
        fd: i32,
        object: ObjectId,
    ) -> bool {
        self.told.len() < MOST_TOLD && self.told.insert((rule, process, fd, object))
    }
}

fn target<'a>(session: &'a Session, id: &ProcessId) -> Option<&'a Process> {
    session.processes.get(id).filter(|process| process.is_target)
}

/// `yes | head`: whether the last reader of an object is a command of the writer's pipeline, which may have had enough.
/// `None` if no reader's close is known yet.
fn had_enough(session: &Session, object: &ObjectId, writer: &Process) -> Option<bool> {
    let closer = session.closes(&session.peer(object)).last()?;
    Some(is_beside(session, closer.process, writer))
}

/// Whether a reader is a process of the target that did not start the writer: a command of the same pipeline, which may
/// have had enough.
fn is_beside(session: &Session, reader: ProcessId, writer: &Process) -> bool {
    let is_above = || {
        let parent = |process: &&Process| session.processes.get(&process.parent);
        let line = std::iter::successors(Some(writer), parent).take(GENERATIONS);
        line.into_iter().any(|process| process.id == reader)
    };
    target(session, &reader).is_some() && !is_above()
}

#[cfg(test)]
mod tests;
