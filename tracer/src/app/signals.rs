//! Signals to tracer, and the clock of `--duration`.

use std::{future::pending, time::Duration};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::{Instant, sleep_until},
};

use super::AppError;

/// Receives signals, and knows the deadline.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
    window: Signal,
    deadline: Option<Instant>,
}

impl Signals {
    /// Starts to receive signals.
    pub(super) fn listen() -> Result<Self, AppError> {
        let listen = |kind| signal(kind).map_err(|source| AppError::Runtime { source });
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            hangup: listen(SignalKind::hangup())?,
            window: listen(SignalKind::window_change())?,
            deadline: None,
        })
    }

    /// Starts the clock.
    pub(super) fn start_clock(&mut self, duration: Option<Duration>) {
        // A deadline beyond the range of the clock is none.
        self.deadline = duration.and_then(|duration| Instant::now().checked_add(duration));
    }

    /// Stops the clock.
    pub(super) fn stop_clock(&mut self) {
        self.deadline = None;
    }

    /// Waits for the next signal, or for the deadline.
    pub(super) async fn next(&mut self) -> Notice {
        let Self { interrupt, terminate, hangup, window, deadline } = self;
        tokio::select! {
            _ = interrupt.recv() => Notice::Stop,
            _ = terminate.recv() => Notice::Stop,
            _ = hangup.recv() => Notice::Stop,
            () = time_is_up(*deadline) => Notice::Stop,
            _ = window.recv() => Notice::WindowChanged,
        }
    }
}

/// What a run has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Notice {
    /// End normally: Ctrl-C, SIGTERM, SIGHUP, or the time is up.
    Stop,
    /// Set the size of the command's terminal: tracer's own terminal has a new size.
    WindowChanged,
}

async fn time_is_up(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_longest_duration_is_no_deadline() {
        let mut signals = Signals::listen().unwrap();
        signals.start_clock(Some(Duration::MAX));
        assert_eq!(signals.deadline, None);
        signals.start_clock(Some(Duration::from_secs(1)));
        assert!(signals.deadline.is_some());
    }
}
