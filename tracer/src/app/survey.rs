//! Surveys: which processes hold the watched objects open.

use std::time::Instant;

use tracer_core::session::Keep;

use super::{Run, progress::surveying};

/// How many turns a survey waits for an empty ring.
const TURNS_FOR_SURVEY: u32 = 5;

impl Run {
    /// Surveys before the command is released, if a process is about to appear that does not wait for this thread. Returns
    /// whether it did.
    pub(super) fn survey_before_command(&mut self) -> bool {
        let is_due = self.newcomer.is_looked_for();
        if is_due {
            self.survey(Keep::All);
        }
        is_due
    }

    /// The survey at the start of a trace, unless there was one, with a line on the terminal if it takes long, unless it is
    /// to be `silent`.
    pub(super) fn first_survey(&mut self, surveyed: bool, silent: bool) {
        if surveyed {
            return;
        }
        let _line = surveying(silent, &self.events);
        self.survey(Keep::All);
    }

    /// Has the kernel list which processes hold the watched objects open. It walks over all open files of the machine,
    /// so what that costs decides when the next survey may take place.
    pub(super) fn survey(&mut self, keep: Keep) {
        // The survey covers every object whose record is in the ring now, and its own records need room there.
        self.collect_for_survey();
        self.collector.begin_survey(keep);
        match self.loader.list_holders(&mut self.events) {
            Ok(cost) => self.pace.took(cost, Instant::now()),
            Err(error) => tracing::warn!("cannot list who holds the pipes open: {error}"),
        }
        self.collect_for_survey();
        self.collector.end_survey();
    }

    /// Applies what is in the ring now, for a few turns.
    fn collect_for_survey(&mut self) {
        let is_empty = (0..TURNS_FOR_SURVEY).any(|_| self.collect_waiting());
        if !is_empty {
            tracing::debug!("a survey begins or ends with records in the ring");
        }
    }
}
