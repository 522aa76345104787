//! What targets have written so far, and what was read of it.

use std::collections::BTreeMap;

use tracer_common::{
    ledger::{LedgerKey, LedgerRow, READ, WRITE},
    object::ObjectId,
};
use tracer_core::session::Session;

/// Sums over rows that have ended and rows that are open.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Sums {
    /// Bytes that targets wrote.
    pub(super) written: u64,
    /// Bytes that were read of them.
    pub(super) read: u64,
    /// Bytes in objects that have not ended.
    pub(super) unread: u64,
    /// Bytes written to and read from each object to which a target wrote.
    flows: BTreeMap<ObjectId, (u64, u64)>,
}

impl Sums {
    /// Adds up. `is_there`: whether an object has not ended.
    pub(super) fn of(
        session: &Session,
        open: &[(LedgerKey, LedgerRow)],
        is_there: impl Fn(&ObjectId) -> bool,
    ) -> Self {
        let rows = || {
            let open = open.iter().map(|(key, row)| (key, row));
            session.ledger.iter().chain(open).filter(|(_, row)| row.bytes > 0)
        };
        let mut sums = Self::default();
        let is_target = |key: &LedgerKey| {
            session.processes.get(&key.process).is_some_and(|process| process.is_target)
        };
        for (key, row) in rows().filter(|(key, _)| key.direction == WRITE && is_target(key)) {
            sums.written += row.bytes;
            sums.flows.entry(key.object).or_default().0 += row.bytes;
        }
        for (key, row) in rows().filter(|(key, _)| key.direction == READ) {
            if let Some((_, read)) = sums.flows.get_mut(&session.peer(&key.object)) {
                *read += row.bytes;
                sums.read += row.bytes;
            }
        }
        let holds_bytes = |object: &ObjectId| session.object_kind(object).passes_on();
        let held = sums.flows.iter().filter(|(object, _)| holds_bytes(object) && is_there(object));
        sums.unread = held.map(|(_, (written, read))| written.saturating_sub(*read)).sum();
        sums
    }

    /// Bytes read of what was written to an object.
    pub(super) fn read_from(&self, object: &ObjectId) -> u64 {
        self.flows.get(object).map_or(0, |(_, read)| *read)
    }
}

#[cfg(test)]
mod tests {
    use tracer_common::id::ProcessId;
    use tracer_core::session::{Kind, Object, Process};

    use super::*;

    #[test]
    fn only_what_targets_wrote_counts_and_only_what_still_can_be_read_is_unread() {
        let mut session = Session::default();
        let [target, reader] = [1, 2].map(|pid| ProcessId::new(pid, 1));
        session
            .processes
            .insert(target, Process { id: target, is_target: true, ..Process::default() });
        let pipes = [1, 2, 3].map(|ino| ObjectId { ino, ..ObjectId::default() });
        for id in pipes {
            session.add_object(Object { id, kind: Kind::Pipe, ..Object::default() });
        }
        let row = |process, object, direction, bytes| {
            let key = LedgerKey { process, object, direction, ..LedgerKey::default() };
            (key, LedgerRow { bytes, ..LedgerRow::default() })
        };
        let (key, ended) = row(target, pipes[0], WRITE, 100);
        session.add_row(key, &ended);
        let open = [
            row(target, pipes[0], WRITE, 20),
            row(reader, pipes[0], READ, 90),
            row(target, pipes[1], WRITE, 7),
            // Its own input.
            row(reader, pipes[2], WRITE, 1000),
            row(target, pipes[2], READ, 1000),
        ];
        let sums = Sums::of(&session, &open, |object| *object != pipes[1]);
        assert_eq!((sums.written, sums.read, sums.unread), (127, 90, 30));
        assert_eq!((sums.read_from(&pipes[0]), sums.read_from(&pipes[2])), (90, 0));
    }
}
