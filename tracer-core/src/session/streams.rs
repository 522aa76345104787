//! Which object is stdout or stderr of a process, also if it was adopted in the middle of a redirection.

use std::collections::BTreeSet;

use tracer_common::{
    id::ProcessId,
    ledger::{LedgerRow, WRITE},
    object::ObjectId,
};

use super::{Fact, FactKind, Kind, Process, Session};

impl Session {
    /// The object of a stream of a process: what fd 1 or 2 pointed to when it started its latest image or was
    /// adopted; `None` if that was never seen. `members` are the process and its descendants.
    ///
    /// `sh` redirects its own fd 1 while `command >file` runs, and restores it afterwards. So if a process was
    /// adopted with an fd that is not of use ([`Self::is_of_use`]), and later wrote through this fd to the object
    /// that the fd points to in the end, that object is the stream.
    #[must_use]
    pub fn stream_of(
        &self,
        process: &Process,
        members: &BTreeSet<ProcessId>,
        fd: i32,
    ) -> Option<ObjectId> {
        let initial = process.stdio_object(usize::try_from(fd).ok()?)?;
        let was_adopted = process.attached_late && !process.executed;
        let restored = if was_adopted { self.restored(process, fd, &initial) } else { None };
        Some(restored.filter(|_| !self.is_of_use(&initial, members)).unwrap_or(initial))
    }

    /// The object that the fd points to in the end, if the process wrote to it through this fd and it is not `initial`.
    fn restored(&self, process: &Process, fd: i32, initial: &ObjectId) -> Option<ObjectId> {
        let rows = self.rows_of(process.id, WRITE);
        let others = rows.filter(|(key, _)| key.fd == fd && key.object != *initial);
        others.map(|(key, _)| key.object).find(|object| self.leads_to(process, fd, object))
    }

    /// Whether an fd points to this object at the end of the process, or in the latest survey.
    fn leads_to(&self, process: &Process, fd: i32, object: &ObjectId) -> bool {
        if let Some(stdio) = &process.stdio_at_end {
            return stdio.get(fd as usize).is_some_and(|state| state.object == *object);
        }
        self.objects.get(object).is_some_and(|known| known.holders.has(process.id, fd))
    }

    /// Whether the object that a stream had at adoption must be kept: a process may read from it, or a member tried
    /// to write to it (for `/dev/null`: failed to). Another object must not hide what went wrong with it.
    fn is_of_use(&self, object: &ObjectId, members: &BTreeSet<ProcessId>) -> bool {
        let kind = self.object_kind(object);
        let was_tried = |row: &LedgerRow| {
            row.errors.iter().any(|count| *count > 0) || row.calls > 0 && kind != Kind::Null
        };
        let mut rows = members.iter().flat_map(|member| self.rows_of(*member, WRITE));
        kind.passes_on() || rows.any(|(key, row)| key.object == *object && was_tried(row))
    }

    /// What fd 0, 1 or 2 of a process pointed to just before a time, as far as its exec and its facts tell, and those of the
    /// shell that it is a fork of.
    pub(crate) fn stdio_at(&self, process: &Process, fd: i32, time_ns: u64) -> Option<ObjectId> {
        let mut time_ns = time_ns;
        for known in self.line_of(process).take(GENERATIONS) {
            let image = known.image_at(time_ns);
            let is_in_time = |fact: &&Fact| (image.since_ns..time_ns).contains(&fact.time_ns);
            let mut facts = known.facts.iter().rev().filter(is_in_time);
            let changes = |fact: &&Fact| match fact.kind {
                FactKind::FdReplaced | FactKind::FdClosed => fact.fd == Some(fd),
                kind => kind == FactKind::Cut,
            };
            if let Some(latest) = facts.find(changes) {
                return latest.object;
            }
            if image.executed || known.attached_late {
                let state = image.stdio.as_ref()?.get(usize::try_from(fd).ok()?)?;
                return Some(state.object);
            }
            time_ns = known.id.start_ns;
        }
        None
    }
}

/// Number of ancestors that are looked at for what a process has its streams from.
pub(crate) const GENERATIONS: usize = 16;
