//! What stdout and stderr of a process are, where it was met in the middle of things.

use std::collections::BTreeSet;

use tracer_common::{
    id::ProcessId,
    ledger::{LedgerRow, WRITE},
    object::ObjectId,
};

use super::{Kind, Process, Session};

impl Session {
    /// What a stream of a process and those who belong to it is: what fd 1 or 2 pointed to when it began its
    /// latest image, or when it was met; `None` when that was never seen.
    ///
    /// `sh` points its own fd 1 elsewhere while `command >file` runs, and puts back what was there. So whoever was
    /// met with an fd that was of no use to anybody, and wrote through it to what it points to in the end, has that.
    #[must_use]
    pub fn stream_of(
        &self,
        process: &Process,
        members: &BTreeSet<ProcessId>,
        fd: i32,
    ) -> Option<ObjectId> {
        let met = process.stdio_object(usize::try_from(fd).ok()?)?;
        let was_met = process.attached_late && !process.executed;
        let put_back = if was_met { self.put_back(process, fd, &met) } else { None };
        Some(put_back.filter(|_| !self.is_of_use(&met, members)).unwrap_or(met))
    }

    /// What the fd points to in the end, if something else was written to through it.
    fn put_back(&self, process: &Process, fd: i32, met: &ObjectId) -> Option<ObjectId> {
        let rows = self.rows_of(process.id, WRITE);
        let others = rows.filter(|(key, _)| key.fd == fd && key.object != *met);
        others.map(|(key, _)| key.object).find(|object| self.leads_to(process, fd, object))
    }

    /// Whether an fd points to this object at the process's end, or was found so by the latest survey.
    fn leads_to(&self, process: &Process, fd: i32, object: &ObjectId) -> bool {
        if let Some(stdio) = &process.stdio_at_end {
            return stdio.get(fd as usize).is_some_and(|state| state.object == *object);
        }
        self.objects.get(object).is_some_and(|known| known.holders.has(process.id, fd))
    }

    /// Whether an object matters that a stream was met with: somebody may read from it, or somebody tried to write
    /// there (to `/dev/null`: failed). What went wrong with it must not be hidden by another object.
    fn is_of_use(&self, object: &ObjectId, members: &BTreeSet<ProcessId>) -> bool {
        let kind = self.object_kind(object);
        let was_tried = |row: &LedgerRow| {
            row.errors.iter().any(|count| *count > 0) || row.calls > 0 && kind != Kind::Null
        };
        let mut rows = members.iter().flat_map(|member| self.rows_of(*member, WRITE));
        kind.passes_on() || rows.any(|(key, row)| key.object == *object && was_tried(row))
    }
}
