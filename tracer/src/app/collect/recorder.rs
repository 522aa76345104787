//! What only the recorder asks for: new targets, and that jobs which were judged are forgotten.

use std::collections::BTreeSet;

use tracer_common::{id::ProcessId, object::ObjectId};
use tracer_core::{
    event::BlockedThread,
    session::{Job, Session},
};

use super::Collector;
use crate::{
    observe::{self, Request},
    sys::processes::exists,
};

impl Collector {
    /// Targets that were adopted, entered a cgroup, or executed a program since the last call, each with the low half of
    /// its cgroup's id.
    pub(in crate::app) fn new_targets(&mut self) -> Vec<(ProcessId, u32)> {
        self.keeps_new_targets = true;
        std::mem::take(&mut self.new_targets)
    }

    /// Whether an object has not ended, as far as known.
    pub(in crate::app) fn is_watched(&self, object: &ObjectId) -> bool {
        self.lifetimes.is_watched(object)
    }

    /// How many jobs found no room in memory since the last call.
    pub(in crate::app) fn lost_jobs(&mut self) -> u64 {
        self.memory.lost_jobs()
    }

    /// Forgets jobs that were judged.
    pub(in crate::app) fn forget(&mut self, jobs: &[Job]) {
        self.handover.judged(jobs);
        self.drop_jobs(jobs);
    }

    /// Forgets jobs, and objects that have ended.
    pub(super) fn drop_jobs(&mut self, jobs: &[Job]) {
        let lifetimes = &self.lifetimes;
        self.session.forget(jobs, |object| lifetimes.is_watched(object));
    }

    /// Has helper processes look at the files that a part of the session wrote to.
    pub(in crate::app) fn ask_for_files(&mut self, part: &Session) {
        observe::ask_for_files(part, &mut self.lookout);
        observe::ask_for_engine_logs(part, &mut self.lookout);
    }

    /// Whether helper processes still look at something of a job.
    pub(in crate::app) fn looks_at(&self, job: &Job, part: &Session) -> bool {
        self.lookout.looks_at(&job.members, |object| part.objects.contains_key(object))
    }

    /// Notes what helper processes could not see.
    pub(in crate::app) fn note_unseen(&mut self) {
        let unseen = self.lookout.take_unseen();
        self.observed(unseen);
    }

    /// The processes of this machine's kernel that have not ended, as far as known.
    pub(super) fn running(&self) -> impl Iterator<Item = ProcessId> {
        let runs = self.session.processes.values().filter(|process| {
            process.end_ns.is_none() && process.summed_up.is_none() && process.id.sandbox == 0
        });
        runs.map(|process| process.id)
    }

    /// Has helper processes look at the threads of at most `most` running processes: those behind `last`, then those from
    /// the first on. Returns the processes that it asked about.
    pub(in crate::app) fn ask_for_threads(
        &mut self,
        last: Option<ProcessId>,
        most: usize,
    ) -> Vec<ProcessId> {
        let runs: Vec<ProcessId> = self.running().collect();
        let first = last.map_or(0, |last| runs.partition_point(|id| *id <= last));
        let in_turn = runs.iter().cycle().skip(first).take(most.min(runs.len()));
        let asked: Vec<ProcessId> = in_turn.copied().collect();
        for process in &asked {
            self.lookout.ask(Request::ThreadsNow { process: *process });
        }
        asked
    }

    /// The threads that were found blocked since the last call.
    pub(in crate::app) fn blocked_threads(&mut self) -> Vec<BlockedThread> {
        let threads = self.lookout.blocked_now();
        threads.iter().map(|thread| observe::with_object(&self.session, thread)).collect()
    }

    /// Looks for processes that are gone and whose end was not reported. The report may be on its way, so that only those
    /// that were gone at the check before as well have ended.
    pub(in crate::app) fn find_vanished(&mut self) {
        let gone: BTreeSet<ProcessId> = self.running().filter(|id| !exists(id.tgid)).collect();
        let now_ns = tracer_loader::boot_ns();
        for id in gone.intersection(&self.missing) {
            self.session.vanished(*id, now_ns);
        }
        self.missing = gone;
    }
}
