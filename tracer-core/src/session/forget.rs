//! Forgets jobs that were judged, so that a recorder that runs for months takes a limited amount of memory.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use tracer_common::{
    id::ProcessId,
    ledger::{LedgerKey, WRITE},
    object::ObjectId,
};

use super::{GUEST_MAJOR, Job, Process, Session, SummedUp, prepares, sum_up::keys_of};

/// The process that stands for writers and readers that were forgotten; no process has the pid 0. What they wrote to
/// an object that is still used stays in its account.
const FORGOTTEN: ProcessId = ProcessId::new(0, 1);
/// Its name in reports.
const FORGOTTEN_NAME: &str = "earlier commands";
/// The minor number in [`ObjectId::dev`].
const MINOR: u32 = 0xf_ffff;
/// Rows of a judged process about an object stay rows of this process if there are at most this many: one for each fd.
const MOST_FDS: usize = 4;
/// Rows about objects that have ended and that a running process wrote to: the latest are kept.
const MOST_OUTPUTS: usize = 64;

impl Session {
    /// Forgets the processes of jobs, and the objects that have ended and that no process uses any more. What they wrote to
    /// other objects stays in the accounts of those.
    pub fn forget(&mut self, jobs: &[Job], is_watched: impl Fn(&ObjectId) -> bool) {
        for job in jobs.iter().filter(|job| job.is_inner) {
            let parent = self.processes.get(&job.root).map(|root| root.parent);
            if let Some(parent) = parent.and_then(|parent| self.processes.get_mut(&parent)) {
                parent.started_jobs = true;
            }
        }
        let gone: &BTreeSet<ProcessId> =
            &jobs.iter().flat_map(|job| &job.members).copied().collect();
        self.note_judged_starters(gone);
        for id in gone {
            let Some(process) = self.processes.remove(id) else { continue };
            if process.summed_up.is_some() {
                let keys = self.ledger.range(keys_of(process.id));
                let keys = keys.map(|(key, _)| *key).collect();
                self.forget_rows(keys);
            } else {
                self.processes.insert(process.id, process.judged());
            }
        }
        self.forget_shared_rows();
        self.sums.retain(|_, sums| !gone.contains(sums));
        self.forget_holders(gone);
        self.blocked.retain(|thread| !gone.contains(&thread.process));
        self.not_seen.retain(|unseen| match &unseen.object {
            Some(object) => self.objects.contains_key(object),
            None => unseen.process != ProcessId::default() && !gone.contains(&unseen.process),
        });
        self.sandboxes.retain(|_, sandbox| !gone.contains(&sandbox.sentry));
        let open: BTreeSet<u32> = self.sandboxes.keys().copied().collect();
        // No hook and no sweep knows the objects inside a sandbox: they end with it.
        let is_inside =
            |id: &ObjectId| id.dev >> 20 == GUEST_MAJOR && open.contains(&(id.dev & MINOR));
        self.forget_ended(|id| is_inside(id) || is_watched(id));
    }

    /// What these processes have started, and is judged later, was started by a command.
    fn note_judged_starters(&mut self, gone: &BTreeSet<ProcessId>) {
        let is_command = |id: &ProcessId| {
            let starter = self.processes.get(id).filter(|_| gone.contains(id));
            starter.is_some_and(|starter| starter.is_target && !prepares(&starter.comm))
        };
        let left =
            self.processes.values().filter(|known| known.is_target && !gone.contains(&known.id));
        let started = left.filter(|known| is_command(&known.parent));
        for id in started.map(|known| known.id).collect::<Vec<_>>() {
            if let Some(known) = self.processes.get_mut(&id) {
                known.is_of_judged = true;
            }
        }
    }

    /// Whether a process was of a job that was judged.
    fn is_judged(&self, id: &ProcessId) -> bool {
        *id == FORGOTTEN || self.processes.get(id).is_some_and(|known| known.is_judged)
    }

    /// Rows of processes that were judged become those of the one that stands for all of them, except where an object has
    /// rows of only one of them: its name is worth to be known as long as the object is.
    fn forget_shared_rows(&mut self) {
        let mut judged: BTreeMap<(ObjectId, u32), Vec<LedgerKey>> = BTreeMap::new();
        for key in self.ledger.keys().filter(|key| self.is_judged(&key.process)) {
            judged.entry((key.object, key.direction)).or_default().push(*key);
        }
        for keys in judged.into_values() {
            let is_of_one = keys.windows(2).all(|two| two[0].process == two[1].process);
            if !is_of_one || keys.len() > MOST_FDS {
                self.forget_rows(keys);
            }
        }
    }

    fn forget_rows(&mut self, keys: Vec<LedgerKey>) {
        for key in keys.into_iter().filter(|key| key.process != FORGOTTEN) {
            self.move_row(key, LedgerKey { process: FORGOTTEN, fd: -1, ..key });
        }
    }

    /// Forgets objects that have ended and that no process that is left uses, with their rows, and processes that are no
    /// targets and have ended.
    fn forget_ended(&mut self, is_watched: impl Fn(&ObjectId) -> bool) {
        let used = self.objects_in_use();
        let used = &self.keep_latest_outputs(used, &is_watched);
        let stays = |id: &ObjectId| used.contains(id) || is_watched(id);
        let ended = |id: &&ObjectId| !stays(id) && !stays(&self.peer(id));
        let ended: BTreeSet<ObjectId> = self.objects.keys().filter(ended).copied().collect();
        let gone = self.ledger.keys().filter(|key| {
            let is_known = self.objects.contains_key(&key.object) && !ended.contains(&key.object);
            !is_known && (self.is_judged(&key.process) || !stays(&key.object))
        });
        let gone: Vec<LedgerKey> = gone.copied().collect();
        for key in gone {
            self.ledger.remove(&key);
        }
        ended.iter().for_each(|id| self.forget_object(id));
        // Of objects whose description was lost there is nothing to forget, but looks.
        let is_known = |id: &ObjectId| self.objects.contains_key(id) || stays(id);
        self.queues.retain(|id, _| is_known(id));
        self.incoming.retain(|id, _| is_known(id));
        self.created.retain(|id| is_known(id));
        let with_rows: BTreeSet<ProcessId> = self.ledger.keys().map(|key| key.process).collect();
        let actors = self.known_actors();
        let is_left = |process: &Process| {
            let runs = process.end_ns.is_none() && process.id != FORGOTTEN;
            process.is_target
                || runs
                || with_rows.contains(&process.id)
                || actors.contains(&process.id)
        };
        let left: BTreeSet<ProcessId> =
            self.processes.values().filter(|known| is_left(known)).map(|known| known.id).collect();
        self.processes.retain(|id| left.contains(id));
        if with_rows.contains(&FORGOTTEN) && !self.processes.contains_key(&FORGOTTEN) {
            self.processes.insert(FORGOTTEN, forgotten());
        }
    }

    /// Adds what running targets have written to most recently: it belongs to the judgement about them. What they wrote
    /// to other objects that have ended stays in their account.
    fn keep_latest_outputs(
        &mut self,
        mut used: BTreeSet<ObjectId>,
        is_watched: impl Fn(&ObjectId) -> bool,
    ) -> BTreeSet<ObjectId> {
        let runs = |id: &ProcessId| {
            let known = self.processes.get(id);
            known.is_some_and(|known| known.is_target && known.end_ns.is_none())
        };
        let mut outputs: BTreeMap<ProcessId, Vec<(u64, LedgerKey)>> = BTreeMap::new();
        for (key, row) in self.ledger.iter().filter(|(key, _)| key.direction == WRITE) {
            let is_there = used.contains(&key.object)
                || is_watched(&key.object)
                || is_watched(&self.peer(&key.object));
            if !is_there && runs(&key.process) {
                outputs.entry(key.process).or_default().push((row.last_ns, *key));
            }
        }
        for (process, mut rows) in outputs {
            rows.sort_unstable_by_key(|(last_ns, _)| std::cmp::Reverse(*last_ns));
            let older = rows.split_off(rows.len().min(MOST_OUTPUTS));
            used.extend(rows.iter().map(|(_, key)| key.object));
            let gone = older.iter().filter_map(|(_, key)| self.ledger.remove(key));
            let bytes: u64 = gone.map(|row| row.bytes).sum();
            if let Some(process) = self.processes.get_mut(&process).filter(|_| bytes > 0) {
                process.written_to_ended = process.written_to_ended.saturating_add(bytes);
            }
        }
        used
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

/// What a process keeps of jobs and objects that a recorder has forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// The process.
    pub process: ProcessId,
    /// As [`Process::written_to_ended`].
    pub written_to_ended: u64,
    /// As [`Process::started_jobs`].
    pub started_jobs: bool,
}

impl Session {
    /// The accounts of processes that have one.
    pub fn accounts(&self) -> impl Iterator<Item = Account> {
        let accounts = self.processes.values().map(|known| Account {
            process: known.id,
            written_to_ended: known.written_to_ended,
            started_jobs: known.started_jobs,
        });
        accounts.filter(|account| account.written_to_ended > 0 || account.started_jobs)
    }

    /// Sets the account of a process, if the process is known.
    pub fn set_account(&mut self, account: &Account) {
        if let Some(known) = self.processes.get_mut(&account.process) {
            known.written_to_ended = account.written_to_ended;
            known.started_jobs = account.started_jobs;
        }
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
