//! A part of a session: what is known about one job, to be judged by itself and then forgotten.

use std::collections::BTreeSet;

use tracer_common::{
    id::ProcessId,
    ledger::{LedgerKey, LedgerRow, READ, WRITE},
    object::ObjectId,
};

use super::{Flows, GUEST_MAJOR, Job, Process, Session, SummedUp};

/// The process that stands for writers and readers that were forgotten; no process has the pid 0. What they wrote to
/// an object that is still used stays in its account.
const FORGOTTEN: ProcessId = ProcessId::new(0, 1);
/// Its name in reports.
const FORGOTTEN_NAME: &str = "earlier commands";
/// The minor number in [`ObjectId::dev`].
const MINOR: u32 = 0xf_ffff;
/// How many relays behind the first reader belong to a part.
const MOST_HOPS: u32 = 8;

impl Session {
    /// What is known about a job, as a session of its own: its processes are the targets. `open` has the rows that are
    /// still in the kernel.
    #[must_use]
    pub fn part(&self, job: &Job, open: &[(LedgerKey, LedgerRow)]) -> Self {
        let objects = self.objects_of(job, open);
        let mut part = Self { start_ns: self.start_ns, ..Self::default() };
        let rows = self.ledger.iter().map(|(key, row)| (*key, row));
        let rows = rows.chain(open.iter().map(|(key, row)| (*key, row)));
        for (key, row) in rows.filter(|(key, _)| objects.contains(&key.object)) {
            part.add_row(key, row);
        }
        for id in &objects {
            self.copy_object(id, &mut part);
        }
        part.ends = self.ends.about(&objects, &job.members);
        let holders = part.objects.values().flat_map(|object| object.holders.iter());
        let others = part.ends.processes().chain(holders.map(|held| held.process));
        let used: BTreeSet<ProcessId> =
            part.ledger.keys().map(|key| key.process).chain(others).collect();
        for id in used.union(&job.members) {
            if let Some(known) = self.processes.get(id) {
                let is_target = job.members.contains(id);
                part.processes.insert(*id, Process { is_target, ..known.clone() });
            }
        }
        let is_member = |process: &ProcessId| job.members.contains(process);
        part.blocked =
            self.blocked.iter().filter(|thread| is_member(&thread.process)).cloned().collect();
        part.not_seen =
            self.not_seen.iter().filter(|unseen| is_member(&unseen.process)).cloned().collect();
        let sandboxes = self.sandboxes.iter().filter(|(_, sandbox)| is_member(&sandbox.sentry));
        part.sandboxes = sandboxes.map(|(number, sandbox)| (*number, sandbox.clone())).collect();
        part
    }

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

    /// The objects that a job used, and those behind their readers.
    fn objects_of(&self, job: &Job, open: &[(LedgerKey, LedgerRow)]) -> BTreeSet<ObjectId> {
        let keys = || self.ledger.keys().chain(open.iter().map(|(key, _)| key));
        let members = job.members.iter().filter_map(|id| self.processes.get(id));
        let of_facts = members.clone().flat_map(|process| &process.facts);
        let standard = members.flat_map(|process| [process.stdio, process.stdio_at_end]);
        let standard = standard.flatten().flatten().map(|state| state.object);
        let used = keys().filter(|key| job.members.contains(&key.process)).map(|key| key.object);
        let mut objects: BTreeSet<ObjectId> =
            standard.chain(used).chain(of_facts.filter_map(|fact| fact.object)).collect();
        objects.remove(&ObjectId::NONE);
        let peers: Vec<ObjectId> = objects.iter().map(|id| self.peer(id)).collect();
        objects.extend(peers);
        for hop in 1..=MOST_HOPS {
            let reads = |key: &&LedgerKey| key.direction == READ && objects.contains(&key.object);
            let relays: BTreeSet<ProcessId> = keys().filter(reads).map(|key| key.process).collect();
            let is_behind = |key: &&LedgerKey| {
                key.direction == WRITE
                    && relays.contains(&key.process)
                    && self.objects.get(&key.object).is_some_and(|object| object.hop == hop)
            };
            let behind: Vec<ObjectId> = keys()
                .filter(is_behind)
                .flat_map(|key| [key.object, self.peer(&key.object)])
                .collect();
            let known = objects.len();
            objects.extend(behind);
            if objects.len() == known {
                break;
            }
        }
        objects
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

    /// Forgets the processes of a job, and the objects that have ended and that no process uses any more. What they wrote
    /// to other objects stays in the accounts of those.
    pub fn forget(&mut self, job: &Job, is_watched: impl Fn(&ObjectId) -> bool) {
        let gone = &job.members;
        self.processes.retain(|id| !gone.contains(id));
        self.sums.retain(|_, sums| !gone.contains(sums));
        let keys: Vec<LedgerKey> =
            self.ledger.keys().filter(|key| gone.contains(&key.process)).copied().collect();
        for key in keys {
            self.move_row(key, LedgerKey { process: FORGOTTEN, fd: -1, ..key });
        }
        self.forget_holders(gone);
        self.blocked.retain(|thread| !gone.contains(&thread.process));
        self.not_seen.retain(|unseen| !gone.contains(&unseen.process));
        self.sandboxes.retain(|_, sandbox| !gone.contains(&sandbox.sentry));
        let open: BTreeSet<u32> = self.sandboxes.keys().copied().collect();
        // No hook and no sweep knows the objects inside a sandbox: they end with it.
        let is_inside =
            |id: &ObjectId| id.dev >> 20 == GUEST_MAJOR && open.contains(&(id.dev & MINOR));
        self.forget_ended(|id| is_inside(id) || is_watched(id));
    }

    /// Forgets objects that have ended and that no process that is left uses, with their rows, and processes that are no
    /// targets and have ended.
    fn forget_ended(&mut self, is_watched: impl Fn(&ObjectId) -> bool) {
        let used = self.objects_in_use();
        let stays = |id: &ObjectId| used.contains(id) || is_watched(id);
        let ended = |id: &&ObjectId| !stays(id) && !stays(&self.peer(id));
        let ended: BTreeSet<ObjectId> = self.objects.keys().filter(ended).copied().collect();
        self.ledger.retain(|key, _| {
            let is_known = self.objects.contains_key(&key.object) && !ended.contains(&key.object);
            is_known || key.process != FORGOTTEN && stays(&key.object)
        });
        ended.iter().for_each(|id| self.forget_object(id));
        // Of objects whose description was lost there is nothing to forget, but looks.
        let is_known = |id: &ObjectId| self.objects.contains_key(id) || stays(id);
        self.queues.retain(|id, _| is_known(id));
        self.incoming.retain(|id, _| is_known(id));
        self.created.retain(|id| is_known(id));
        let with_rows: BTreeSet<ProcessId> = self.ledger.keys().map(|key| key.process).collect();
        let is_left = |process: &Process| {
            let runs = process.end_ns.is_none() && process.id != FORGOTTEN;
            process.is_target || runs || with_rows.contains(&process.id)
        };
        let left: BTreeSet<ProcessId> =
            self.processes.values().filter(|known| is_left(known)).map(|known| known.id).collect();
        self.processes.retain(|id| left.contains(id));
        if with_rows.contains(&FORGOTTEN) && !self.processes.contains_key(&FORGOTTEN) {
            self.processes.insert(FORGOTTEN, forgotten());
        }
    }

    /// Objects that targets have or had as standard fds or have open for reading, and those that a target has written to
    /// or read from that has ended and is not judged yet.
    fn objects_in_use(&self) -> BTreeSet<ObjectId> {
        let targets = || self.processes.values().filter(|process| process.is_target);
        let standard = targets().flat_map(|process| [process.stdio, process.stdio_at_end]);
        let standard = standard.flatten().flatten().map(|state| state.object);
        let pending: BTreeSet<ProcessId> = targets()
            .filter(|process| process.end_ns.is_some())
            .map(|process| process.id)
            .collect();
        let rows = self.ledger.keys().filter(|key| pending.contains(&key.process));
        let open = self.ends.open_objects();
        standard.chain(rows.map(|key| key.object)).chain(open).collect()
    }
}

fn forgotten() -> Process {
    Process {
        id: FORGOTTEN,
        comm: FORGOTTEN_NAME.to_owned(),
        summed_up: Some(SummedUp::default()),
        ..Process::default()
    }
}
