//! Paths of bytes from process to process: a process that reads one object writes to another.

use std::collections::{BTreeMap, BTreeSet};

use tracer_common::{
    id::ProcessId,
    ledger::{LedgerRow, READ, WRITE},
    object::ObjectId,
};

use super::{Flows, Kind, Session};

/// One process on a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The process.
    pub process: ProcessId,
    /// Bytes that it read from the object of the previous step; `None` for the first step.
    pub read: Option<u64>,
    /// The object that it wrote to; `None` if no write was seen.
    pub object: Option<ObjectId>,
    /// Bytes that it wrote to `object`.
    pub written: u64,
}

/// One path from the first writer to the last known process or object.
pub type Chain = Vec<Step>;

/// Maximal number of processes on one path.
const MAX_STEPS: usize = 8;
/// Outputs of one process that are followed: those closest in byte count, and as many of those written to earliest.
const BRANCHES: usize = 3;
/// Maximal number of paths from one object.
const CHAINS: usize = 32;

/// The paths from `object`, to which `writer` wrote `written` bytes.
#[must_use]
pub fn chains(
    session: &Session,
    flows: &Flows,
    writer: ProcessId,
    object: ObjectId,
    written: u64,
) -> Vec<Chain> {
    let first = Step { process: writer, read: None, object: Some(object), written };
    let mut search = Search { session, flows, found: Vec::new() };
    search.walk(vec![first]);
    search.found
}

struct Search<'a> {
    session: &'a Session,
    flows: &'a Flows,
    found: Vec<Chain>,
}

impl Search<'_> {
    fn walk(&mut self, chain: Chain) {
        if self.found.len() >= CHAINS {
            return;
        }
        let Some(object) = chain.last().and_then(|step| step.object) else { return };
        let flow = self.flows.get(&object);
        let readers: Vec<_> = flow
            .readers
            .iter()
            .filter(|endpoint| endpoint.bytes > 0)
            .filter(|endpoint| chain.iter().all(|step| step.process != endpoint.process))
            .collect();
        if readers.is_empty() || chain.len() >= MAX_STEPS {
            self.found.push(chain);
            return;
        }
        for reader in readers {
            let read = Some(reader.bytes);
            let outputs = self.outputs((reader.process, reader.bytes), &object, &chain);
            if outputs.is_empty() {
                let mut whole = chain.clone();
                whole.push(Step { process: reader.process, read, object: None, written: 0 });
                self.found.push(whole);
            }
            for (output, written) in outputs {
                let mut longer = chain.clone();
                let process = reader.process;
                longer.push(Step { process, read, object: Some(output), written });
                self.walk(longer);
            }
        }
    }

    /// Objects that a reader wrote to after it had begun to read, closest byte count first. Excludes objects that are
    /// already on the path.
    fn outputs(
        &self,
        (reader, read): (ProcessId, u64),
        input: &ObjectId,
        chain: &Chain,
    ) -> Vec<(ObjectId, u64)> {
        let began = self.began_to_read(reader, input);
        let passed: BTreeSet<ObjectId> = chain
            .iter()
            .filter_map(|step| step.object)
            .flat_map(|object| [object, self.session.peer(&object)])
            .collect();
        let mut sums: BTreeMap<ObjectId, (u64, u64)> = BTreeMap::new();
        for (key, row) in self.session.rows_of(reader, WRITE) {
            let is_new = !passed.contains(&key.object)
                && !is_wake_up(self.session, self.flows, reader, &key.object);
            if row.last_ns >= began && row.bytes > 0 && is_new {
                let sum = sums.entry(key.object).or_insert((0, u64::MAX));
                *sum = (sum.0 + row.bytes, sum.1.min(row.first_ns));
            }
        }
        self.keep_exact(&mut sums, read);
        closest(sums, began, read)
    }

    /// If the reader passed exactly what it read on to an object, its other outputs are of other inputs, unless they are
    /// files: a log adds something to each line.
    fn keep_exact(&self, sums: &mut BTreeMap<ObjectId, (u64, u64)>, read: u64) {
        if sums.values().any(|(written, _)| *written == read) {
            sums.retain(|object, (written, _)| {
                *written == read
                    || *written > read && self.session.object_kind(object) == Kind::File
            });
        }
    }

    /// When a process first read from an object.
    fn began_to_read(&self, reader: ProcessId, object: &ObjectId) -> u64 {
        let peer = self.session.peer(object);
        let rows = self.session.rows_on(reader, peer, READ);
        rows.map(|(_, row)| row.first_ns).min().unwrap_or(0)
    }
}

/// The kernel side reads the clock for a row of a file once in a tick of its own clock: 10 ms, or less (`CONFIG_HZ`).
const TICK_NS: u64 = 10_000_000;

/// When the latest call of a row of a file may have come, at the latest, nanoseconds since boot.
/// [`LedgerRow::last_ns`] can be a tick too early, unless it is that of the first call.
#[must_use]
pub(crate) fn latest_possible_ns(row: &LedgerRow) -> u64 {
    if row.calls <= 1 { row.last_ns } else { row.last_ns.saturating_add(TICK_NS) }
}

/// Whether the latest call of a row of a file may have come after a time.
#[must_use]
pub(crate) fn may_be_after(row: &LedgerRow, time_ns: u64) -> bool {
    latest_possible_ns(row) >= time_ns
}

/// Whether only the writer itself reads an object, like the pipe or eventfd with which an event loop wakes itself.
#[must_use]
pub(crate) fn is_wake_up(
    session: &Session,
    flows: &Flows,
    writer: ProcessId,
    object: &ObjectId,
) -> bool {
    let readers = &flows.get(object).readers;
    let is_eventfd = || session.objects.get(object).is_some_and(|it| it.path == "/[eventfd]");
    (session.object_kind(object).is_pipe() || is_eventfd())
        && !readers.is_empty()
        && readers.iter().all(|endpoint| endpoint.process == writer)
}

/// The outputs whose byte count is closest to the bytes read, then the ones first written to soonest after the first
/// read. Sorted by closeness of the byte count.
fn closest(sums: BTreeMap<ObjectId, (u64, u64)>, began: u64, read: u64) -> Vec<(ObjectId, u64)> {
    let by_amount = |(_, (written, _)): &(ObjectId, (u64, u64))| distance(*written, read);
    let mut outputs: Vec<(ObjectId, (u64, u64))> = sums.into_iter().collect();
    outputs.sort_by_key(by_amount);
    let others = outputs.split_off(BRANCHES.min(outputs.len()));
    let mut soonest: Vec<_> =
        others.into_iter().filter(|(_, (_, first))| *first >= began).collect();
    soonest.sort_by_key(|(_, (_, first))| *first);
    outputs.extend(soonest.into_iter().take(BRANCHES));
    outputs.sort_by_key(by_amount);
    outputs.into_iter().map(|(object, (written, _))| (object, written)).collect()
}

/// Ratio of the larger byte count to the smaller one, in hundredths. A relay writes about as many bytes as it reads;
/// its control messages have other sizes.
fn distance(one: u64, other: u64) -> u64 {
    let (small, large) = (one.min(other).max(1), one.max(other));
    large.saturating_mul(100) / small
}

#[cfg(test)]
mod tests {
    use tracer_common::ledger::LedgerKey;

    use super::*;
    use crate::session::Object;

    fn object(ino: u64) -> ObjectId {
        ObjectId { ino, dev: 1, discriminator: 0 }
    }

    fn session(rows: &[(u32, u32, u64, u64)]) -> Session {
        let mut session = Session::default();
        for (tgid, direction, ino, bytes) in rows {
            let id = object(*ino);
            session.add_object(Object { id, kind: Kind::Pipe, ..Object::default() });
            let process = ProcessId::new(*tgid, 0);
            let key = LedgerKey { process, object: id, fd: 1, direction: *direction };
            session.add_row(key, &LedgerRow { bytes: *bytes, ..LedgerRow::default() });
        }
        session
    }

    #[test]
    fn a_relay_is_followed_to_its_own_output() {
        let session =
            session(&[(1, WRITE, 5, 100), (2, READ, 5, 100), (2, WRITE, 6, 80), (3, READ, 6, 80)]);
        let flows = Flows::of(&session);
        let found = chains(&session, &flows, ProcessId::new(1, 0), object(5), 100);
        let steps: Vec<(u32, Option<u64>, u64)> =
            found[0].iter().map(|step| (step.process.tgid, step.read, step.written)).collect();
        assert_eq!(found.len(), 1);
        assert_eq!(steps, [(1, None, 100), (2, Some(100), 80), (3, Some(80), 0)]);
    }

    #[test]
    fn outputs_of_other_inputs_are_left_out_if_one_has_the_same_bytes() {
        let rows = [(1, WRITE, 5, 24), (2, READ, 5, 24), (2, WRITE, 6, 299), (2, WRITE, 7, 24)];
        let mut session = session(&rows);
        let ends = |session: &Session| -> Vec<u64> {
            let found = chains(session, &Flows::of(session), ProcessId::new(1, 0), object(5), 24);
            found.iter().map(|chain| chain.last().unwrap().object.unwrap().ino).collect()
        };
        assert_eq!(ends(&session), [7]);
        session.objects.get_mut(&object(6)).unwrap().kind = Kind::File;
        assert_eq!(ends(&session), [7, 6]);
    }

    #[test]
    fn two_processes_that_write_to_each_other_end_the_path() {
        let session =
            session(&[(1, WRITE, 5, 9), (2, READ, 5, 9), (2, WRITE, 6, 9), (1, READ, 6, 9)]);
        let found = chains(&session, &Flows::of(&session), ProcessId::new(1, 0), object(5), 9);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].len(), 2);
    }
}
