//! How fast commands write: the difference of two snapshots.

use std::collections::HashMap;

use tracer_common::id::ProcessId;
use tracer_core::snapshot::{Row, Snapshot};

/// A rate is that of at least this time, in milliseconds. Shorter ones jump.
const SHORTEST_MS: f64 = 200.0;

/// Bytes per second that were written.
#[derive(Debug, Default)]
pub(in crate::top) struct Rates {
    rows: HashMap<ProcessId, [f64; 2]>,
    /// The rate of all commands.
    pub(in crate::top) total: f64,
}

impl Rates {
    /// Takes two snapshots. Time can go back in a recording; then there are no rates.
    pub(super) fn take(&mut self, before: &Snapshot, now: &Snapshot) {
        let passed_ms = now.at_ms - before.at_ms;
        if now.is_over || before.rows.is_empty() || passed_ms < 0.0 {
            *self = Self::default();
            return;
        }
        if passed_ms < SHORTEST_MS {
            return;
        }
        let rate = |now: u64, before: u64| now.saturating_sub(before) as f64 / passed_ms * 1e3;
        let known: HashMap<ProcessId, &Row> = before.rows.iter().map(|row| (row.id, row)).collect();
        let written = |row: &Row, at: usize| row.streams.get(at).map_or(0, |bytes| bytes.written);
        let of = |row: &Row| {
            let before = |at| known.get(&row.id).map_or(0, |known| written(known, at));
            [0, 1].map(|at| rate(written(row, at), before(at)))
        };
        self.rows = now.rows.iter().map(|row| (row.id, of(row))).collect();
        self.total = rate(now.totals.bytes.written, before.totals.bytes.written);
    }

    /// The rates of a command's stdout and stderr.
    pub(in crate::top) fn of(&self, id: &ProcessId) -> [f64; 2] {
        self.rows.get(id).copied().unwrap_or_default()
    }
}
