//! A part of a session: what is known about one job, to be judged by itself and then forgotten.

use std::collections::{BTreeMap, BTreeSet};

use tracer_common::{
    id::ProcessId,
    ledger::{LedgerKey, LedgerRow, READ, WRITE},
    object::ObjectId,
};

use super::{Flows, Job, Kind, Session, acts::Acts, ends::EndsByObject};

/// How many relays behind the first reader belong to a part.
const MOST_HOPS: u32 = 8;

/// A row and its key.
type Row = (LedgerKey, LedgerRow);

/// A session whose rows and read ends are found by object, so that many jobs can be judged one after another.
pub struct Parts<'a> {
    session: &'a Session,
    /// All rows, also those that are still in the kernel.
    rows: BTreeMap<ObjectId, Vec<Row>>,
    /// The objects of the rows of each process.
    used: BTreeMap<ProcessId, BTreeSet<ObjectId>>,
    /// What each process has written to through relays: objects that are not the target's own.
    passed_on: BTreeMap<ProcessId, BTreeSet<ObjectId>>,
    ends: EndsByObject,
    /// What processes did to objects, also those of other jobs.
    acts: Acts<'a>,
    /// The machine's own files that sandboxes were given, by the objects that they are inside.
    host_files: BTreeMap<ObjectId, ObjectId>,
}

impl<'a> Parts<'a> {
    /// Sorts a session. `open` has the rows that are still in the kernel.
    #[must_use]
    pub fn of(session: &'a Session, open: &[Row]) -> Self {
        let mut rows: BTreeMap<ObjectId, Vec<Row>> = BTreeMap::new();
        let (mut used, mut passed_on) = (BTreeMap::new(), BTreeMap::new());
        let known = session.ledger.iter().map(|(key, row)| (*key, *row));
        for (key, row) in known.chain(open.iter().copied()) {
            rows.entry(key.object).or_default().push((key, row));
            let of_process: &mut BTreeSet<ObjectId> = used.entry(key.process).or_default();
            of_process.insert(key.object);
            let is_behind = || session.objects.get(&key.object).is_some_and(|known| known.hop > 0);
            if key.direction == WRITE && is_behind() {
                let of_relay: &mut BTreeSet<ObjectId> = passed_on.entry(key.process).or_default();
                of_relay.insert(key.object);
            }
        }
        let ends = session.ends.by_object();
        let acts = Acts::of(session.processes.values());
        let host_files = session.host_files(open);
        Self { session, rows, used, passed_on, ends, acts, host_files }
    }

    /// What is known about a job, as a session of its own: its processes are the targets.
    #[must_use]
    pub fn part(&self, job: &Job) -> Session {
        let objects = self.objects_of(job);
        let session = self.session;
        let (start_ns, is_inner) = (session.start_ns, job.is_inner);
        let mut part = Session { start_ns, is_part: true, is_inner, ..Session::default() };
        let of_objects = objects.iter().filter_map(|id| self.rows.get(id)).flatten();
        // Calls on fds that were not open have no object that others could use as well.
        let without = self.rows.get(&ObjectId::NONE).into_iter().flatten();
        let without = without.filter(|(key, _)| job.members.contains(&key.process));
        for (key, row) in of_objects.chain(without) {
            part.add_row(*key, row);
        }
        for id in &objects {
            session.copy_object(id, &mut part);
        }
        part.ends = self.ends.about(&objects, &job.members, &session.ends);
        let holders = part.objects.values().flat_map(|object| object.holders.iter());
        let others = part.ends.processes().chain(holders.map(|held| held.process));
        let acted = |object| self.acts.on(object).chain(self.acts.with_output(object));
        let others = others.chain(part.objects.values().flat_map(acted));
        let used: BTreeSet<ProcessId> =
            part.ledger.keys().map(|key| key.process).chain(others).collect();
        for id in used.union(&job.members) {
            part.processes.share(*id, &session.processes, job.members.contains(id));
        }
        let is_member = |process: &ProcessId| job.members.contains(process);
        // Also those of its readers: they may wait for something else.
        let is_known = |process: &ProcessId| part.processes.get(process).is_some();
        let blocked = session.blocked.iter().filter(|thread| is_known(&thread.process));
        let blocked = blocked.cloned().collect();
        part.blocked = blocked;
        let unseen = session.not_seen.iter().filter(|unseen| {
            is_member(&unseen.process)
                || unseen.object.is_some_and(|object| objects.contains(&object))
        });
        part.not_seen = unseen.cloned().collect();
        let inside: BTreeSet<u32> = job.members.iter().map(|process| process.sandbox).collect();
        let sandboxes = session
            .sandboxes
            .iter()
            .filter(|(number, sandbox)| inside.contains(number) || is_member(&sandbox.sentry));
        part.sandboxes = sandboxes.map(|(number, sandbox)| (*number, sandbox.clone())).collect();
        part
    }

    /// The objects that a job used, and those behind their readers.
    fn objects_of(&self, job: &Job) -> BTreeSet<ObjectId> {
        let members = || job.members.iter().filter_map(|id| self.session.processes.get(id));
        let standard = members().flat_map(|process| [process.stdio, process.stdio_at_end]);
        let standard = standard.flatten().flatten().map(|state| state.object);
        let of_facts = members().flat_map(|process| &process.facts).filter_map(|fact| fact.object);
        let used = job.members.iter().filter_map(|id| self.used.get(id)).flatten().copied();
        let mut objects: BTreeSet<ObjectId> = standard.chain(of_facts).chain(used).collect();
        objects.remove(&ObjectId::NONE);
        let host_files: Vec<ObjectId> =
            objects.iter().filter_map(|inside| self.host_files.get(inside)).copied().collect();
        objects.extend(host_files);
        let mut newest: Vec<ObjectId> = objects.iter().copied().collect();
        for _ in 0..=MOST_HOPS {
            let peers: Vec<ObjectId> = newest.iter().map(|id| self.session.peer(id)).collect();
            objects.extend(&peers);
            let rows = peers.iter().filter_map(|id| self.rows.get(id)).flatten();
            let readers = rows.filter(|(key, _)| key.direction == READ).map(|(key, _)| key.process);
            let relays: BTreeSet<ProcessId> = readers.collect();
            let behind = relays.iter().filter_map(|relay| self.passed_on.get(relay)).flatten();
            newest = behind.copied().filter(|id| objects.insert(*id)).collect();
            if newest.is_empty() {
                break;
            }
        }
        objects
    }
}

impl Session {
    fn copy_object(&self, id: &ObjectId, part: &mut Self) {
        if let Some(object) = self.objects.get(id) {
            part.add_object(object.clone());
        }
        part.joined.extend(self.joined.get(id).map(|peer| (*id, *peer)));
        part.queues.extend(self.queues.get(id).map(|seen| (*id, *seen)));
        part.incoming.extend(self.incoming.get(id).map(|seen| (*id, *seen)));
        part.created.extend(self.created.get(id).copied());
        part.surveyed.extend(self.surveyed.get(id).copied());
    }

    /// Bytes that were written to each file.
    #[must_use]
    pub fn written_to_files(&self) -> BTreeMap<ObjectId, u64> {
        let mut written: BTreeMap<ObjectId, u64> = BTreeMap::new();
        for (key, row) in self.ledger.iter().filter(|(key, _)| key.direction == WRITE) {
            if self.object_kind(&key.object) == Kind::File {
                let sum = written.entry(key.object).or_default();
                *sum = sum.saturating_add(row.bytes);
            }
        }
        written
    }

    /// Notes how much had been written to each file when its size was asked for.
    pub fn files_were_asked_for(&mut self, written: &BTreeMap<ObjectId, u64>) {
        let now = self.written_to_files();
        for (id, object) in &mut self.objects {
            let then = written.get(id).copied().unwrap_or(0);
            object.written_when_asked = now.get(id).filter(|now| **now > then).map(|_| then);
        }
    }

    /// Whether all that a job wrote to pipes, sockets and terminals has been read, or can be read no more. To be asked of
    /// its part. `is_watched`: whether an object has not ended.
    #[must_use]
    pub fn is_drained(&self, job: &Job, is_watched: impl Fn(&ObjectId) -> bool) -> bool {
        let flows = Flows::of(self);
        let mut written = self
            .ledger
            .keys()
            .filter(|key| key.direction == WRITE && job.members.contains(&key.process));
        written.all(|key| {
            let passes_on = self.object_kind(&key.object).passes_on();
            let is_open = is_watched(&key.object) && is_watched(&self.peer(&key.object));
            !passes_on || !is_open || flows.get(&key.object).unread == Some(0)
        })
    }
}
