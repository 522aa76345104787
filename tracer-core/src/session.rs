//! The session: everything that a run recorded, as a pure model.
//!
//! It takes in events and ledger rows in any order. It does no I/O, reads no clock and panics on no sequence of
//! events. A verdict is a function of the session alone.

mod acts;
mod apply;
mod claims;
mod ends;
mod facts;
mod flow;
mod forget;
mod holders;
mod hops;
mod jobs;
mod loss;
mod object;
mod observations;
mod part;
mod process;
mod processes;
mod sandboxes;
mod sightings;
mod streams;
mod sum_up;
mod target;
mod witnesses;

use std::collections::{BTreeMap, BTreeSet};

use tracer_common::{
    id::ProcessId,
    ledger::{LedgerKey, LedgerRow, WRITE, error},
    loss::LossCell,
    object::ObjectId,
};

use crate::{
    event::{BlockedThread, Claim, LogRead, NotSeen, Sandbox},
    text::Variables,
};

pub(crate) use self::{
    acts::{is_given, is_remover, names},
    holders::is_read_write,
    hops::{is_wake_up, latest_possible_ns, may_be_after},
    object::O_APPEND,
    process::SIGPIPE,
    streams::GENERATIONS,
};
pub use self::{
    claims::ClaimedProcesses,
    ends::{Close, QueueSeen},
    facts::{CutKind, Fact, FactKind},
    flow::{Endpoint, Flow, Flows},
    forget::Account,
    holders::{Holders, Holding},
    hops::{Chain, Step, chains},
    jobs::{Job, prepares},
    loss::LossReason,
    object::{Kind, Object},
    part::Parts,
    process::{PastImage, Process, inside, named},
    processes::Processes,
    sandboxes::{GUEST_HANDED_IN, GUEST_MAJOR},
    sightings::{Keep, Sightings},
    sum_up::SummedUp,
    target::Target,
    witnesses::{Uncounted, Witness},
};

/// Everything recorded so far.
#[derive(Clone, Debug, Default)]
pub struct Session {
    /// Nanoseconds since boot at which every hook was attached.
    pub start_ns: u64,
    /// Nanoseconds since boot at which the hooks were detached.
    pub end_ns: u64,
    /// Whether it is the part of a job ([`Parts::part`]).
    pub is_part: bool,
    /// Whether it is the part of a job that another command has started ([`Job::is_inner`]): that one knows what it waits
    /// for.
    pub is_inner: bool,
    /// Processes: targets, and participants (other processes that used a watched object).
    pub processes: Processes,
    /// Watched objects.
    pub objects: BTreeMap<ObjectId, Object>,
    /// The ledger, rows of ended processes included.
    pub ledger: BTreeMap<LedgerKey, LedgerRow>,
    /// What could not be recorded, by reason.
    pub losses: BTreeMap<LossReason, LossCell>,
    /// The two halves of one pty or one unix stream; each pair is here in both directions.
    pub joined: BTreeMap<ObjectId, ObjectId>,
    /// Threads that were blocked in a call when the trace ended.
    pub blocked: Vec<BlockedThread>,
    /// Bytes that managers returned, according to their logs.
    pub claims: Vec<Claim>,
    /// How well those logs could be read.
    pub logs_read: Vec<LogRead>,
    /// What user space wanted to look at and did not see.
    pub not_seen: Vec<NotSeen>,
    /// The gVisor sandboxes that tracer looked into, by number.
    pub sandboxes: BTreeMap<u32, Sandbox>,
    /// Read ends, open and closed.
    ends: ends::Ends,
    /// The latest look at the bytes that were written to each object.
    queues: BTreeMap<ObjectId, QueueSeen>,
    /// The latest look at the bytes that can be read from each object, if they are written to another one.
    incoming: BTreeMap<ObjectId, QueueSeen>,
    /// Objects for which the latest survey found holders.
    surveyed: BTreeSet<ObjectId>,
    /// Objects whose creation was seen, so they were empty when they came under watch.
    created: BTreeSet<ObjectId>,
    /// The environment that was seen last; the next process usually has the same one and shares it.
    variables: Variables,
    /// Number of objects with each name. One path can name several files, one after another or in several mount
    /// namespaces.
    names: BTreeMap<String, u32>,
    /// The entry of each command whose processes are summed up: by the process below which they were, name, and
    /// whether they were commands.
    sums: BTreeMap<(ProcessId, String, bool), ProcessId>,
}

impl Session {
    /// Adds a ledger row to the known part of it. A row that was taken out of the kernel can be opened again by a
    /// late completion.
    pub fn add_row(&mut self, key: LedgerKey, row: &LedgerRow) {
        self.ledger.entry(key).and_modify(|known| merge(known, row)).or_insert(*row);
    }

    /// Adds to a loss reason.
    pub fn add_loss(&mut self, reason: LossReason, cell: LossCell) {
        if cell.events == 0 && cell.bytes == 0 {
            return;
        }
        let known = self.losses.entry(reason).or_default();
        known.events = known.events.saturating_add(cell.events);
        known.bytes = known.bytes.saturating_add(cell.bytes);
    }

    /// Rows of one process in one direction.
    pub fn rows_of(
        &self,
        process: ProcessId,
        direction: u32,
    ) -> impl Iterator<Item = (&LedgerKey, &LedgerRow)> {
        let first = LedgerKey { process, ..LedgerKey::default() };
        self.ledger
            .range(first..)
            .take_while(move |(key, _)| key.process == process)
            .filter(move |(key, _)| key.direction == direction)
    }

    /// Rows of one process about one object, in one direction.
    pub(crate) fn rows_on(
        &self,
        process: ProcessId,
        object: ObjectId,
        direction: u32,
    ) -> impl Iterator<Item = (&LedgerKey, &LedgerRow)> {
        let key = |fd, direction| LedgerKey { process, object, fd, direction };
        let rows = self.ledger.range(key(i32::MIN, 0)..=key(i32::MAX, u32::MAX));
        rows.filter(move |(key, _)| key.direction == direction)
    }

    /// Bytes that a process wrote anywhere; `None` before its end.
    pub(crate) fn written_anywhere(&self, process: &Process) -> Option<u64> {
        let written: u64 = self.rows_of(process.id, WRITE).map(|(_, row)| row.bytes).sum();
        process.other_bytes.map(|other| written.saturating_add(other))
    }

    /// A process, its parent, the parent of that, and so on, as far as they are known. Their number has no limit.
    pub fn line_of<'a>(&'a self, process: &'a Process) -> impl Iterator<Item = &'a Process> {
        std::iter::successors(Some(process), |known| self.processes.get(&known.parent))
    }

    /// Milliseconds from the start of the trace to `time_ns`.
    #[must_use]
    pub fn since_start_ms(&self, time_ns: u64) -> f64 {
        (time_ns as f64 - self.start_ns as f64) / 1e6
    }

    /// The object's name in reports, which is unique: device and inode are appended to a path that several objects
    /// share, and a number if they share the inode number too.
    #[must_use]
    pub fn object_name(&self, id: &ObjectId) -> String {
        let Some(object) = self.objects.get(id) else { return object::unknown_name(id) };
        let name = object.name();
        if self.names.get(&name).is_some_and(|count| *count > 1) {
            let (major, minor) = (id.dev >> 20, id.dev & 0xf_ffff);
            let number = self.number_among_namesakes(object, &name);
            return format!("{name} (inode {} on {major}:{minor}{number})", id.ino);
        }
        name
    }

    /// `, no. 2` for the second of several objects with this name and inode number; empty for the only one.
    fn number_among_namesakes(&self, object: &Object, name: &str) -> String {
        let numbered = |discriminator| ObjectId { discriminator, ..object.id };
        let same_inode = self.objects.range(numbered(0)..=numbered(u32::MAX));
        let namesakes: Vec<_> = same_inode
            .filter(|(_, other)| other.name() == name)
            .map(|(id, other)| (other.seen_ns, *id))
            .collect();
        if namesakes.len() < 2 {
            return String::new();
        }
        let own = (object.seen_ns, object.id);
        format!(", no. {}", 1 + namesakes.iter().filter(|other| **other < own).count())
    }

    /// Adds a watched object. A second description of it can only lower its hop.
    pub fn add_object(&mut self, mut object: Object) {
        if let Some(known) = self.objects.get_mut(&object.id) {
            known.hop = known.hop.min(object.hop);
        } else {
            *self.names.entry(object.name()).or_default() += 1;
            self.note_reused_number(&mut object);
            self.objects.insert(object.id, object);
        }
    }

    /// Of several files with one inode number only the latest is there.
    fn note_reused_number(&mut self, object: &mut Object) {
        let id = object.id;
        let numbered = |discriminator| ObjectId { discriminator, ..id };
        let others = self.objects.range_mut(numbered(0)..=numbered(u32::MAX));
        let are_files = object.kind == Kind::File;
        for (_, other) in others.filter(|(_, other)| are_files && other.kind == Kind::File) {
            let earlier = if other.seen_ns <= object.seen_ns { other } else { &mut *object };
            earlier.number_is_reused();
        }
    }

    /// The object on which the bytes are read that are written to this one: the other half of a pty or unix stream,
    /// else the object itself.
    #[must_use]
    pub fn peer(&self, object: &ObjectId) -> ObjectId {
        self.joined.get(object).copied().unwrap_or(*object)
    }

    /// Whether the other half of a pty or unix stream is known.
    #[must_use]
    pub fn is_joined(&self, object: &ObjectId) -> bool {
        self.joined.contains_key(object)
    }

    /// Whether an object is a socket whose other half is known. (A pty's account cannot be checked: the terminal
    /// changes the number of bytes.)
    pub(crate) fn is_joined_socket(&self, object: &ObjectId) -> bool {
        self.object_kind(object) == Kind::Socket && self.is_joined(object)
    }

    /// Whether targets write to an object themselves; else relays pass their output on to it.
    pub(crate) fn is_of_targets(&self, object: &ObjectId) -> bool {
        self.objects.get(object).is_none_or(|object| object.hop == 0)
    }

    /// Whether a row is about the pid with which a process enters a cgroup (cgroups(7)), which is no output.
    pub(crate) fn enters_cgroup(&self, key: &LedgerKey) -> bool {
        self.objects.get(&key.object).is_some_and(Object::lists_cgroup_members)
    }

    /// Whether a row is output of the target itself: not what a relay passes on, and no entry into a cgroup.
    pub(crate) fn is_output(&self, key: &LedgerKey) -> bool {
        self.is_of_targets(&key.object) && !self.enters_cgroup(key)
    }

    /// Whether the object's creation was seen.
    #[must_use]
    pub fn was_created_here(&self, object: &ObjectId) -> bool {
        self.created.contains(object)
    }

    /// The object's kind; `Unknown` if the event that describes it was lost.
    #[must_use]
    pub fn object_kind(&self, id: &ObjectId) -> Kind {
        if id.is_none() {
            return Kind::Closed;
        }
        self.objects.get(id).map_or(Kind::Unknown, |object| object.kind)
    }
}

/// Adds up two parts of one row.
fn merge(known: &mut LedgerRow, part: &LedgerRow) {
    known.bytes = known.bytes.saturating_add(part.bytes);
    known.calls = known.calls.saturating_add(part.calls);
    known.refused = known.refused.saturating_add(part.refused);
    known.failed = known.failed.saturating_add(part.failed);
    known.first_ns = known.first_ns.min(part.first_ns);
    if part.last_ns >= known.last_ns {
        known.last_ns = part.last_ns;
        known.last_refused = part.last_refused;
        known.window = part.window;
        known.before_window = known.bytes.saturating_sub(part.window_bytes());
        known.previous_window_bytes = part.previous_window_bytes;
    }
    known.short = known.short.saturating_add(part.short);
    known.zero = known.zero.saturating_add(part.zero);
    for class in 0..error::COUNT {
        known.errors[class] = known.errors[class].saturating_add(part.errors[class]);
    }
    known.ops |= part.ops;
    known.doubts |= part.doubts;
    known.captured = known.captured.saturating_add(part.captured);
    known.uncaptured = known.uncaptured.saturating_add(part.uncaptured);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Event, EventKind, FileNow};

    fn file(ino: u64) -> Object {
        let id = ObjectId { ino, dev: 8 << 20 | 1, discriminator: 0 };
        Object { id, kind: Kind::File, path: "/var/log/x".into(), ..Object::default() }
    }

    #[test]
    fn two_files_of_one_path_have_two_names() {
        let mut session = Session::default();
        session.add_object(file(5));
        assert_eq!(session.object_name(&file(5).id), "/var/log/x");
        session.add_object(file(6));
        session.add_object(file(6));
        assert_eq!(session.object_name(&file(5).id), "/var/log/x (inode 5 on 8:1)");
        assert_eq!(session.object_name(&file(6).id), "/var/log/x (inode 6 on 8:1)");
    }

    #[test]
    fn files_of_one_path_and_inode_number_are_numbered_in_their_order() {
        let mut session = Session::default();
        let generation = |discriminator, seen_ns| {
            let id = ObjectId { discriminator, ..file(5).id };
            Object { id, seen_ns, ..file(5) }
        };
        session.add_object(generation(9, 10));
        session.add_object(generation(3, 20));
        session.add_object(file(6));
        let name = |discriminator| session.object_name(&generation(discriminator, 0).id);
        assert_eq!(name(9), "/var/log/x (inode 5 on 8:1, no. 1)");
        assert_eq!(name(3), "/var/log/x (inode 5 on 8:1, no. 2)");
        assert_eq!(session.object_name(&file(6).id), "/var/log/x (inode 6 on 8:1)");
    }

    #[test]
    fn what_is_found_with_an_inode_number_is_the_latest_file_that_has_it() {
        let generation = |discriminator, seen_ns| {
            let id = ObjectId { discriminator, ..file(5).id };
            Object { id, seen_ns, size_after: Some(7), ..file(5) }
        };
        let look = |session: &mut Session, renamed: &str| {
            let (object, renamed) = (generation(9, 0).id, renamed.to_owned());
            let now = if renamed.is_empty() { FileNow::Same } else { FileNow::Gone };
            let kind = EventKind::File { object, now, size: 22, renamed };
            session.apply(&Event { time_ns: 90, kind });
        };
        let known = |session: &Session| {
            let found = &session.objects[&generation(9, 0).id];
            (found.is_found(), found.size_after, found.now)
        };
        for (renamed, now) in [("", FileNow::Replaced), ("/var/log/y", FileNow::Gone)] {
            // The look comes before the later file is seen, or after it; and the files in either order.
            let mut before = Session::default();
            before.add_object(generation(9, 10));
            look(&mut before, renamed);
            assert_eq!(known(&before).1, Some(22));
            before.add_object(generation(3, 20));
            assert_eq!(known(&before), (false, None, Some(now)));
            let mut after = Session::default();
            after.add_object(generation(3, 20));
            after.add_object(generation(9, 10));
            look(&mut after, renamed);
            assert_eq!(known(&after), (false, Some(7), Some(now)));
            let mut alone = Session::default();
            alone.add_object(generation(9, 10));
            alone.add_object(file(6));
            look(&mut alone, renamed);
            assert!(known(&alone).0);
        }
    }

    #[test]
    fn parts_of_a_row_add_up() {
        let mut session = Session::default();
        let key = LedgerKey::default();
        let part = |bytes, first_ns, last_ns| LedgerRow {
            bytes,
            calls: 1,
            first_ns,
            last_ns,
            ..LedgerRow::default()
        };
        session.add_row(key, &part(10, 5, 6));
        session.add_row(key, &part(3, 8, 9));
        let row = session.ledger[&key];
        assert_eq!((row.bytes, row.calls, row.first_ns, row.last_ns), (13, 2, 5, 9));
    }
}
