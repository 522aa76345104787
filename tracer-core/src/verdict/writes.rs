//! What each process wrote, by time. A process may have written to 65,536 objects, and a rule may ask for each of them.

use std::collections::BTreeMap;

use tracer_common::{id::ProcessId, ledger::WRITE};

use super::Case;
use crate::session::latest_possible_ns;

/// The writes of all processes, without those that only wake up the writer itself.
#[derive(Default)]
pub(super) struct Writes {
    /// For each row of a process: when its latest bytes may have been written, and the bytes of this row and of all later
    /// ones. Sorted by time.
    by_process: BTreeMap<ProcessId, Vec<(u64, u64)>>,
}

impl Writes {
    /// Goes through the ledger once.
    pub(super) fn of(case: &Case<'_>) -> Self {
        let mut by_process: BTreeMap<ProcessId, Vec<(u64, u64)>> = BTreeMap::new();
        for (key, row) in case.session.ledger.iter().filter(|(key, _)| key.direction == WRITE) {
            if case.is_for_itself(key) {
                continue;
            }
            let is_file = !case.session.object_kind(&key.object).passes_on();
            let last_ns = if is_file { latest_possible_ns(row) } else { row.last_ns };
            by_process.entry(key.process).or_default().push((last_ns, row.bytes));
        }
        for writes in by_process.values_mut() {
            writes.sort_unstable();
            let mut later = 0;
            for (_, bytes) in writes.iter_mut().rev() {
                later += *bytes;
                *bytes = later;
            }
        }
        Self { by_process }
    }

    /// Bytes that a process wrote at this time (nanoseconds since boot) and later, at most.
    pub(super) fn since(&self, process: ProcessId, time_ns: u64) -> u64 {
        let writes = self.by_process.get(&process).map_or(&[][..], Vec::as_slice);
        let first = writes.partition_point(|(last_ns, _)| *last_ns < time_ns);
        writes.get(first).map_or(0, |(_, bytes)| *bytes)
    }
}
