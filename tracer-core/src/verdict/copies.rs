//! Processes that write the same bytes to several places (`tee`), and end because the reader of one of them leaves: the
//! other copies end there as well.

use std::collections::BTreeMap;

use tracer_common::{
    id::ProcessId,
    ledger::{LedgerRow, READ, WRITE, error},
    object::ObjectId,
};

use super::{Case, rows::add};
use crate::session::{Kind, Process, SIGPIPE};

/// A copy that ends where the reader of another one left.
pub(super) struct CutCopy {
    /// The object whose reader left.
    pub(super) left: ObjectId,
    /// The object that has the copy.
    pub(super) copy: ObjectId,
    /// Bytes that it got.
    pub(super) bytes: u64,
    /// Bytes that were written for it and did not reach it, at least; 0 if only its writer's end shows that there are some.
    pub(super) missing: u64,
}

impl Case<'_> {
    /// The copies that end too early because `SIGPIPE` ended their writers, by writer. Computed once.
    pub(super) fn cut_copies(&self) -> &BTreeMap<ProcessId, CutCopy> {
        self.cut_copies.get_or_init(|| {
            let processes = self.session.processes.values();
            let ended = processes.filter(|process| process.signal() == Some(SIGPIPE));
            ended.filter_map(|process| Some((process.id, self.cut_copy(process)?))).collect()
        })
    }

    /// The copy of a process that `SIGPIPE` ended, if it passed on what it read, and there was more to read.
    fn cut_copy(&self, process: &Process) -> Option<CutCopy> {
        let read = self.read_from_others(process);
        let mut written: BTreeMap<ObjectId, LedgerRow> = BTreeMap::new();
        for (key, row) in self.session.rows_of(process.id, WRITE) {
            add(written.entry(key.object).or_insert(LedgerRow::ZERO), row);
        }
        let (left, refused) = written.iter().find(|(object, row)| self.was_left(object, row))?;
        let mut copies = written.iter().filter(|(object, row)| {
            *object != left && self.keeps(object) && is_copy(row, refused) && row.bytes <= read
        });
        let (copy, row) = copies.next()?;
        let (underway, was_ended) = self.not_passed_on(process);
        let missing = read.saturating_sub(row.bytes).saturating_add(underway);
        (missing > 0 || was_ended).then_some(CutCopy {
            left: *left,
            copy: *copy,
            bytes: row.bytes,
            missing,
        })
    }

    /// Whether a process lost the reader of what it wrote, within a write or before it.
    fn was_left(&self, object: &ObjectId, row: &LedgerRow) -> bool {
        let was_cut = row.errors[error::EPIPE as usize] > 0 || row.short > 0;
        was_cut
            && self.session.object_kind(object).passes_on()
            && self.session.last_closer(&self.session.peer(object)).is_some()
    }

    /// Whether what is written there is kept, or read by a process.
    fn keeps(&self, object: &ObjectId) -> bool {
        let kind = self.session.object_kind(object);
        kind == Kind::File || kind.passes_on()
    }

    /// Bytes that a process read from pipes, sockets and terminals.
    fn read_from_others(&self, process: &Process) -> u64 {
        let rows = self.session.rows_of(process.id, READ);
        let inputs = rows.filter(|(key, _)| self.session.object_kind(&key.object).passes_on());
        inputs.map(|(_, row)| row.bytes).sum()
    }

    /// Bytes that were written for a process and that it did not read, and whether `SIGPIPE` ended one of their writers.
    fn not_passed_on(&self, process: &Process) -> (u64, bool) {
        let rows = self.session.rows_of(process.id, READ);
        let inputs: Vec<ObjectId> = rows.map(|(key, _)| self.session.peer(&key.object)).collect();
        let (mut bytes, mut was_ended) = (0u64, false);
        for object in inputs.iter().filter(|object| self.session.object_kind(object).passes_on()) {
            let flow = self.flows.get(object);
            bytes = bytes.saturating_add(flow.unread.unwrap_or(0));
            for writer in &flow.writers {
                let rows = self.session.rows_on(writer.process, *object, WRITE);
                // Several refusals may be of the same bytes.
                let refused = rows.filter(|(_, row)| row.errors[error::EPIPE as usize] == 1);
                bytes = bytes.saturating_add(refused.map(|(_, row)| row.failed).sum());
                let known = self.session.processes.get(&writer.process);
                was_ended |= known.is_some_and(|known| known.signal() == Some(SIGPIPE));
            }
        }
        (bytes, was_ended)
    }
}

/// Whether one object got the same bytes as another one, whose last write was refused or cut short: the write to the copy
/// came before or after it.
fn is_copy(copy: &LedgerRow, refused: &LedgerRow) -> bool {
    let block = copy.bytes.checked_div(copy.calls).unwrap_or(0);
    let is_cut_short = refused.short > 0
        && copy.calls.abs_diff(refused.calls) <= 1
        && copy.bytes.abs_diff(refused.bytes) <= block;
    let is_same =
        [refused.bytes, refused.bytes.saturating_add(refused.failed)].contains(&copy.bytes);
    let is_refused = copy.errors[error::EPIPE as usize] > 0;
    copy.bytes > 0 && !is_refused && (is_same || is_cut_short)
}
