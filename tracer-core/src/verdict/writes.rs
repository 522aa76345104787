//! What each process wrote, by time. A process may have written to 65,536 objects, and a rule may ask for each of them.

use std::collections::BTreeMap;

use tracer_common::{id::ProcessId, ledger::WRITE};

use super::{Case, rows::COPIES};
use crate::session::latest_possible_ns;

/// The writes of all processes, without those that only wake up the writer itself.
#[derive(Default)]
pub(super) struct Writes {
    by_process: BTreeMap<ProcessId, Written>,
}

/// The writes of one process.
#[derive(Default)]
struct Written {
    all: ByTime,
    /// Those of rows with calls that copy from fd to fd.
    copies: ByTime,
}

/// For each row: when its latest bytes may have been written, and the bytes of this row and of all later ones.
#[derive(Default)]
struct ByTime(Vec<(u64, u64)>);

impl ByTime {
    /// Sorts the rows, and adds them up.
    fn add_up(&mut self) {
        self.0.sort_unstable();
        let mut later = 0;
        for (_, bytes) in self.0.iter_mut().rev() {
            later += *bytes;
            *bytes = later;
        }
    }

    fn since(&self, time_ns: u64) -> u64 {
        let first = self.0.partition_point(|(last_ns, _)| *last_ns < time_ns);
        self.0.get(first).map_or(0, |(_, bytes)| *bytes)
    }
}

impl Writes {
    /// Goes through the ledger once.
    pub(super) fn of(case: &Case<'_>) -> Self {
        let mut by_process: BTreeMap<ProcessId, Written> = BTreeMap::new();
        let rows = case.session.ledger.iter().filter(|(key, _)| key.direction == WRITE);
        for (key, row) in rows.filter(|(key, _)| !case.is_for_itself(key)) {
            let is_file = !case.session.object_kind(&key.object).passes_on();
            let last_ns = if is_file { latest_possible_ns(row) } else { row.last_ns };
            let written = by_process.entry(key.process).or_default();
            written.all.0.push((last_ns, row.bytes));
            if row.ops & COPIES != 0 {
                written.copies.0.push((last_ns, row.bytes));
            }
        }
        for written in by_process.values_mut() {
            written.all.add_up();
            written.copies.add_up();
        }
        Self { by_process }
    }

    /// Bytes that a process wrote at this time (nanoseconds since boot) and later, at most. `with_copies`: and all that it
    /// copied from fd to fd.
    pub(super) fn since(&self, process: ProcessId, time_ns: u64, with_copies: bool) -> u64 {
        let Some(Written { all, copies }) = self.by_process.get(&process) else { return 0 };
        let before = if with_copies { copies.since(0) - copies.since(time_ns) } else { 0 };
        all.since(time_ns) + before
    }
}
