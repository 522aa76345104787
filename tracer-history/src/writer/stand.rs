//! How large the history is, and what it has taken.

use std::collections::BTreeMap;

/// How large the history is, and what its writer has taken since it started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stand {
    /// Bytes of all files.
    pub bytes: u64,
    /// Bytes above which the oldest files are removed.
    pub limit: u64,
    /// When the oldest entry ended, in µs since 1970; `None` if there is none.
    pub oldest_us: Option<i64>,
    /// Entries that were written.
    pub entries: u64,
    /// Entries that were not taken, by reason.
    pub missed: BTreeMap<&'static str, u64>,
}

impl Stand {
    pub(super) fn miss(&mut self, why: &'static str, entries: u64) {
        let sum = self.missed.entry(why).or_default();
        *sum = sum.saturating_add(entries);
    }
}
