//! What is passed on to others when a trace ends.

use std::{
    process::ExitStatus,
    time::{Duration, Instant},
};

use super::signals::Signals;
use crate::launch::Running;

/// After this long without progress, what reads tracer's output stands still. A report does not wait for it.
pub(super) const STALLED: Duration = Duration::from_millis(500);
/// For how long after a signal helper processes may look, all looks together.
const LOOKS: Duration = Duration::from_millis(700);
/// Each of these looks has this time, also if the others took longer.
const LEAST_LOOK: Duration = Duration::from_millis(100);
/// For how long after a signal a report waits for readers and disks that are slow: it begins within two seconds.
const PASSING_ON: Duration = Duration::from_millis(800);
/// Each of these waits has this time, also if the others took longer: this machine may be slow, too.
const LEAST_WAIT: Duration = Duration::from_millis(300);

/// The end of a trace: what is passed on to others may take as long as they need, until a signal comes.
pub(super) struct End<'a> {
    signals: &'a mut Signals,
    /// When a signal ended the trace, or came since.
    stopped: Option<Instant>,
}

impl<'a> End<'a> {
    /// The end of a trace; `was_stopped`: whether a signal, or the user of a view, has ended it.
    pub(super) fn of(signals: &'a mut Signals, was_stopped: bool) -> Self {
        let mut end = Self { signals, stopped: None };
        if was_stopped {
            end.is_stopped();
        }
        end
    }

    fn is_stopped(&mut self) {
        self.stopped = Some(self.signals.came().unwrap_or_else(Instant::now));
    }

    /// Whether a signal ended the trace, or came since.
    pub(super) const fn was_stopped(&self) -> bool {
        self.stopped.is_some()
    }

    /// Whether a signal has come since the last question.
    pub(super) fn is_told_to_stop(&mut self) -> bool {
        let is_new = self.signals.stopped().is_some();
        if is_new {
            self.is_stopped();
        }
        is_new
    }

    /// Of a look at the end that may take this long: how long it may take if all of them together are to be in time.
    pub(super) fn look(&self, at_most: Duration) -> Duration {
        let left = |stopped: Instant| LOOKS.saturating_sub(stopped.elapsed()).max(LEAST_LOOK);
        self.stopped.map_or(at_most, |stopped| at_most.min(left(stopped)))
    }

    /// Whether to wait for the reader or the disk that takes the report, which made no progress for this long.
    pub(super) fn waits(&mut self, idle: Duration) -> bool {
        !self.is_told_to_stop() && (self.stopped.is_none() || idle <= STALLED)
    }

    /// Begins a wait for something that the report waits for. The answer is asked with the time without progress: whether
    /// to go on. After a signal all such waits together are short, also for what is only slow.
    pub(super) fn waiting(&mut self) -> impl FnMut(Duration) -> bool {
        let began = Instant::now();
        move |idle| {
            let is_late =
                |stopped: Instant| stopped.elapsed() > PASSING_ON && began.elapsed() > LEAST_WAIT;
            self.waits(idle) && !self.stopped.is_some_and(is_late)
        }
    }

    /// Passes on what is left in the command's terminal. Returns how the command ended, if it has.
    pub(super) fn finish_command(&mut self, mut running: Running) -> Option<ExitStatus> {
        // An error means that something else has reaped it.
        let ended = running.try_wait().ok().flatten();
        let began = Instant::now();
        let mut waits = self.waiting();
        if let Err(error) = running.finish_relay(|| waits(began.elapsed())) {
            tracing::warn!("the command's terminal was not passed on completely: {error}");
        }
        ended
    }
}
