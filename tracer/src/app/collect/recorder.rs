//! What only the recorder asks for: new targets, and that jobs which were judged are forgotten.

use std::collections::BTreeSet;

use tracer_common::{id::ProcessId, object::ObjectId};
use tracer_core::session::{Job, Session};

use super::Collector;
use crate::{observe, sys::processes::exists};

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

    /// Forgets jobs that were judged.
    pub(in crate::app) fn forget(&mut self, jobs: &[Job]) {
        let lifetimes = &self.lifetimes;
        self.session.forget(jobs, |object| lifetimes.is_watched(object));
    }

    /// Has helper processes look at the files that a part of the session wrote to.
    pub(in crate::app) fn ask_for_files(&mut self, part: &Session) {
        observe::ask_for_files(part, &mut self.lookout);
        observe::ask_for_engine_logs(part, &mut self.lookout);
    }

    /// Looks for processes that are gone and whose end was not reported. The report may be on its way, so that only those
    /// that were gone at the check before as well have ended.
    pub(in crate::app) fn find_vanished(&mut self) {
        let runs = self.session.processes.values().filter(|process| {
            process.end_ns.is_none() && process.summed_up.is_none() && process.id.sandbox == 0
        });
        let gone: BTreeSet<ProcessId> =
            runs.map(|process| process.id).filter(|id| !exists(id.tgid)).collect();
        let now_ns = tracer_loader::boot_ns();
        for id in gone.intersection(&self.missing) {
            self.session.vanished(*id, now_ns);
        }
        self.missing = gone;
    }
}
