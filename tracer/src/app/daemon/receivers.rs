//! The receivers of entries and gaps: the history, and `tracer-reach` with the systems that it informs.

use tracer_history::{Entry, Gap, Writer};
use tracer_reach::{Reach, Status};

use crate::render;

/// The history, and `tracer-reach`. No call waits.
pub(super) struct Receivers<'a> {
    history: &'a Writer,
    reach: &'a Reach,
}

impl<'a> Receivers<'a> {
    pub(super) fn new(history: &'a Writer, reach: &'a Reach) -> Self {
        Self { history, reach }
    }

    /// A command was judged.
    pub(super) fn entry(&self, entry: Entry) {
        self.reach.entry(&entry);
        self.history.add(entry);
    }

    /// Something was not seen.
    pub(super) fn gap(&self, gap: Gap) {
        self.reach.gap(&gap, &render::gap_sentence(&gap));
        self.history.gap(gap);
    }

    /// The recorder is there at this time, microseconds since 1970. `status` is asked only if a system is told of it.
    pub(super) fn alive(&self, now_us: i64, status: impl FnOnce() -> Status) {
        self.reach.status(|| Status { history: self.history.stand(), ..status() });
        self.history.alive(now_us);
    }
}
