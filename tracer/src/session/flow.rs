//! An object seen from both ends: written by whom, read by whom, unread.

use std::{cmp::Reverse, collections::BTreeMap};

use tracer_common::{id::ProcessId, ledger::WRITE, object::ObjectId};

use super::{Object, Session};

/// One process at one end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Party {
    /// Who.
    pub process: ProcessId,
    /// Its name.
    pub comm: String,
    /// Bytes it moved.
    pub bytes: u64,
}

/// The books of one object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flow {
    /// Who wrote, most bytes first.
    pub writers: Vec<Party>,
    /// Who read, most bytes first.
    pub readers: Vec<Party>,
    /// Bytes written while watched.
    pub written: u64,
    /// Bytes read while watched.
    pub read: u64,
    /// Bytes inside at first sight, where the object is a pipe and they could be read.
    pub before: Option<u64>,
    /// Bytes nobody has read: `before + written - read`; `None` where that has no meaning.
    pub unread: Option<u64>,
    /// Whether more was not read than was there; `None` where it cannot be checked.
    pub balanced: Option<bool>,
}

/// The books of every object, made in one pass over the ledger.
#[derive(Clone, Debug, Default)]
pub struct Flows {
    flows: BTreeMap<ObjectId, Flow>,
}

impl Flows {
    /// Adds up the ledger of a session.
    #[must_use]
    pub fn of(session: &Session) -> Self {
        let mut parties: BTreeMap<(ObjectId, u32, ProcessId), u64> = BTreeMap::new();
        for (key, row) in &session.ledger {
            *parties.entry((key.object, key.direction, key.process)).or_default() += row.bytes;
        }
        let mut flows: BTreeMap<ObjectId, Flow> =
            session.objects.keys().map(|id| (*id, Flow::default())).collect();
        for ((object, direction, process), bytes) in parties {
            let comm = session.processes.get(&process).map(|process| process.comm.clone());
            let party = Party { process, comm: comm.unwrap_or_default(), bytes };
            let flow = flows.entry(object).or_default();
            match direction {
                WRITE => flow.writers.push(party),
                _ => flow.readers.push(party),
            }
        }
        for (id, flow) in &mut flows {
            flow.close(session.objects.get(id));
        }
        Self { flows }
    }

    /// The books of one object; empty when nobody was seen at either end.
    #[must_use]
    pub fn get(&self, object: &ObjectId) -> Flow {
        self.flows.get(object).cloned().unwrap_or_default()
    }
}

impl Flow {
    /// Totals, order and the balance.
    fn close(&mut self, object: Option<&Object>) {
        for side in [&mut self.writers, &mut self.readers] {
            side.sort_by_key(|party| (Reverse(party.bytes), party.process));
        }
        self.written = self.writers.iter().map(|party| party.bytes).sum();
        self.read = self.readers.iter().map(|party| party.bytes).sum();
        let pipe = object.filter(|object| object.kind.is_pipe() && object.pipe.valid == 1);
        self.before = pipe.map(|object| object.pipe.unread);
        let supply = self.before.map(|before| before.saturating_add(self.written));
        self.unread = supply.map(|supply| supply.saturating_sub(self.read));
        self.balanced = supply.map(|supply| self.read <= supply);
    }

    /// The readers that took bytes, as a phrase: `manager (pid 60)`.
    #[must_use]
    pub fn readers_in_words(&self) -> Option<String> {
        let names: Vec<String> = self
            .readers
            .iter()
            .filter(|party| party.bytes > 0)
            .map(|party| format!("{} (pid {})", party.comm, party.process.tgid))
            .collect();
        match names.as_slice() {
            [] => None,
            [one] => Some(one.clone()),
            [first, rest @ ..] => Some(format!("{first} and {} more", rest.len())),
        }
    }
}

#[cfg(test)]
mod tests {
    use tracer_common::{
        ledger::{LedgerKey, LedgerRow, READ},
        object::PipeState,
    };

    use super::*;
    use crate::session::Kind;

    fn session(before: u64, written: u64, read: u64) -> (Session, ObjectId) {
        let id = ObjectId { ino: 5, dev: 1, discriminator: 0 };
        let mut session = Session::default();
        let pipe = PipeState { unread: before, valid: 1, ..PipeState::default() };
        session.add_object(Object { id, kind: Kind::Pipe, pipe, ..Object::default() });
        for (tgid, direction, bytes) in [(1, WRITE, written), (2, READ, read)] {
            let process = ProcessId::new(tgid, 0);
            let key = LedgerKey { process, object: id, fd: 1, direction };
            session.add_row(key, &LedgerRow { bytes, ..LedgerRow::default() });
        }
        (session, id)
    }

    #[test]
    fn what_was_written_and_not_read_is_unread() {
        let (session, id) = session(10, 100, 90);
        let flow = Flows::of(&session).get(&id);
        assert_eq!((flow.unread, flow.balanced), (Some(20), Some(true)));
    }

    #[test]
    fn more_read_than_there_was_does_not_balance() {
        let (session, id) = session(0, 100, 101);
        assert_eq!(Flows::of(&session).get(&id).balanced, Some(false));
    }
}
