//! Jobs: commands whose streams their starter has made for them, with what they started. An always-on recorder judges
//! each by itself.
//!
//! A trace of one command has one session until its end. A recorder runs for months: when a job has ended, its part of
//! the session is judged ([`Parts::part`](super::Parts::part)) and forgotten ([`Session::forget`]).

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use tracer_common::{id::ProcessId, ledger::READ, object::ObjectId};

use super::{Kind, Process, Session};

/// A job is looked at this long after its end at the earliest: late completions find its rows.
const SETTLED_NS: u64 = 1_000_000_000;

/// Whether a process has the name of one that a runtime puts into a new cgroup to start a program there: of runc
/// (`libcontainer/nsenter/nsexec.c`), crun, and systemd (`exec_child`, which has the program's name in brackets).
#[must_use]
pub fn prepares(comm: &str) -> bool {
    comm.starts_with("runc:[") || comm == "crun" || comm.starts_with('(')
}

/// A job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Its first process.
    pub root: ProcessId,
    /// That process and its descendants, without other jobs.
    pub members: BTreeSet<ProcessId>,
    /// When the last of them ended, nanoseconds since boot; `None` while one of them runs.
    pub ended_ns: Option<u64>,
    /// Whether another command started it, not a runtime.
    pub is_inner: bool,
    /// Whether one of its processes has started another job.
    pub has_inner: bool,
}

impl Job {
    /// Whether all its processes had ended at this time, and what they did has been reported since.
    #[must_use]
    pub fn has_settled(&self, now_ns: u64) -> bool {
        self.ended_ns.is_some_and(|ended| ended + SETTLED_NS <= now_ns)
    }
}

impl Session {
    /// All jobs in order of their start.
    #[must_use]
    pub fn jobs(&self) -> Vec<Job> {
        let mut roots: BTreeMap<ProcessId, ProcessId> = BTreeMap::new();
        let mut jobs: BTreeMap<ProcessId, Job> = BTreeMap::new();
        let readers = self.readers_of_pipelines();
        for process in self.processes.values().filter(|process| process.is_target) {
            let root = self.root_of(process, &readers, &mut roots);
            let job = jobs.entry(root).or_insert_with(|| Job {
                root,
                members: BTreeSet::new(),
                ended_ns: Some(0),
                is_inner: self.is_started_by_command(root),
                has_inner: false,
            });
            job.has_inner |= process.started_jobs;
            job.members.insert(process.id);
            let end = if process.summed_up.is_some() { Some(0) } else { process.end_ns };
            job.ended_ns = job.ended_ns.zip(end).map(|(latest, end)| latest.max(end));
        }
        let inner = jobs.values().filter(|job| job.is_inner);
        let parents = inner.filter_map(|job| self.processes.get(&job.root)).map(|root| root.parent);
        let outer: BTreeSet<ProcessId> =
            parents.filter_map(|parent| roots.get(&parent).copied()).collect();
        for root in outer {
            jobs.entry(root).and_modify(|job| job.has_inner = true);
        }
        jobs.into_values().collect()
    }

    fn is_started_by_command(&self, root: ProcessId) -> bool {
        let Some(root) = self.processes.get(&root) else { return false };
        let parent = self.processes.get(&root.parent);
        root.is_of_judged || parent.is_some_and(|it| it.is_target && !prepares(&it.comm))
    }

    /// The first process of the job that a process belongs to. `roots` has those that are known already.
    fn root_of(
        &self,
        process: &Process,
        readers: &BTreeSet<(ProcessId, ObjectId)>,
        roots: &mut BTreeMap<ProcessId, ProcessId>,
    ) -> ProcessId {
        let (mut passed, mut at) = (Vec::new(), process);
        let root = loop {
            if let Some(root) = roots.get(&at.id) {
                break *root;
            }
            // A cycle of parents is impossible in the kernel, but not in a session that was read.
            let is_cycle = passed.contains(&at.id);
            passed.push(at.id);
            let parent = self.processes.get(&at.parent).filter(|parent| parent.is_target);
            match parent {
                Some(parent) if !is_cycle && !self.begins_job(at, parent, readers) => at = parent,
                _ => break at.id,
            }
        };
        roots.extend(passed.into_iter().map(|id| (id, root)));
        root
    }

    /// Whether a process begins a job of its own: it is a program, and its starter is a runtime, or gave it another stdout
    /// or stderr than its own, which is not the input of the next command in a pipeline.
    fn begins_job(
        &self,
        process: &Process,
        parent: &Process,
        readers: &BTreeSet<(ProcessId, ObjectId)>,
    ) -> bool {
        if process.executed && prepares(&parent.comm) {
            return true;
        }
        let is_program = process.executed || process.attached_late;
        // A shell can be first seen in the middle of a redirection of its own.
        let at_end = |fd: usize| parent.stdio_at_end.as_ref()?.get(fd).map(|state| state.object);
        let of_parent = [1, 2].map(|fd| [parent.stdio_object(fd), at_end(fd)]);
        let is_own = |fd| {
            let Some(object) = process.stdio_object(fd) else { return false };
            let is_shared = of_parent.as_flattened().contains(&Some(object));
            let goes_nowhere = matches!(self.object_kind(&object), Kind::Null | Kind::Closed);
            !is_shared && !goes_nowhere && !readers.contains(&(parent.id, self.peer(&object)))
        };
        is_program && process.summed_up.is_none() && [1, 2].into_iter().any(is_own)
    }

    /// Objects that commands read as their input or otherwise, each with the process that started the command.
    fn readers_of_pipelines(&self) -> BTreeSet<(ProcessId, ObjectId)> {
        let targets = || self.processes.values().filter(|process| process.is_target);
        let inputs =
            targets().filter_map(|process| Some((process.parent, process.stdio_object(0)?)));
        let read = self.ledger.keys().filter(|key| key.direction == READ).filter_map(|key| {
            let reader = self.processes.get(&key.process).filter(|reader| reader.is_target)?;
            Some((reader.parent, key.object))
        });
        inputs.chain(read).collect()
    }

    /// A process whose end was not reported has ended by this time: it is not there any more.
    pub fn vanished(&mut self, process: ProcessId, time_ns: u64) {
        let Some(known) = self.processes.get_mut(&process) else { return };
        if known.end_ns.is_none() {
            known.end_ns = Some(time_ns);
            let comm = known.comm.clone();
            self.close_ends_of(process, &comm, time_ns);
        }
    }
}
