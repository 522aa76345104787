//! To be written.

use std::time::Duration;

use tracer_history::{Entry, Gap};

use crate::Status;

/// To be written.
pub struct Metrics;

impl Metrics {
    /// A command was judged.
    pub fn entry(&self, _entry: &Entry) {}

    /// Something was not seen.
    pub fn gap(&self, _gap: &Gap) {}

    /// How the daemon is now.
    pub fn status(&self, _status: &Status) {}

    /// Sends what waits.
    pub fn close(self, _within: Duration) {}
}
