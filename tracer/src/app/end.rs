//! What is passed on to others when a trace ends.

use std::{
    process::ExitStatus,
    time::{Duration, Instant},
};

use super::signals::Signals;
use crate::launch::Running;

/// After this long without progress, what reads tracer's output stands still. A report does not wait for it.
pub(super) const STALLED: Duration = Duration::from_millis(500);

/// The end of a trace: what is passed on to others may take as long as they need, until a signal comes.
pub(super) struct End<'a> {
    pub(super) signals: &'a mut Signals,
    /// Whether a signal ended the trace, or came since.
    pub(super) was_stopped: bool,
}

impl End<'_> {
    /// Whether to wait for a reader or a disk that made no progress for this long.
    pub(super) fn waits(&mut self, idle: Duration) -> bool {
        let is_new = self.signals.stopped().is_some();
        let gives_up = is_new || self.was_stopped && idle > STALLED;
        self.was_stopped |= is_new;
        !gives_up
    }

    /// Passes on what is left in the command's terminal. Returns how the command ended, if it has.
    pub(super) fn finish_command(&mut self, mut running: Running) -> Option<ExitStatus> {
        // An error means that something else has reaped it.
        let ended = running.try_wait().ok().flatten();
        let began = Instant::now();
        if let Err(error) = running.finish_relay(|| self.waits(began.elapsed())) {
            tracing::warn!("the command's terminal was not passed on completely: {error}");
        }
        ended
    }
}
