//! What comes from outside while a trace runs: signals and the clock.

use std::{future::pending, time::Duration};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::{Instant, sleep_until},
};

use super::AppError;

/// Listens for it.
pub(super) struct FromOutside {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
    window: Signal,
    deadline: Option<Instant>,
}

impl FromOutside {
    /// Starts to listen.
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

    /// The time that may pass begins now.
    pub(super) fn start_clock(&mut self, duration: Option<Duration>) {
        // A time that the clock cannot reach is none.
        self.deadline = duration.and_then(|duration| Instant::now().checked_add(duration));
    }

    /// Time does not matter any more.
    pub(super) fn stop_clock(&mut self) {
        self.deadline = None;
    }

    /// Returns at the next thing from outside.
    pub(super) async fn next(&mut self) -> Outside {
        let Self { interrupt, terminate, hangup, window, deadline } = self;
        tokio::select! {
            _ = interrupt.recv() => Outside::Stop,
            _ = terminate.recv() => Outside::Stop,
            _ = hangup.recv() => Outside::Stop,
            () = time_is_up(*deadline) => Outside::Stop,
            _ = window.recv() => Outside::WindowChanged,
        }
    }
}

/// What came from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outside {
    /// Ctrl-C, SIGTERM, SIGHUP, or the time is up: the run ends normally.
    Stop,
    /// The terminal has another size.
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
        let mut outside = FromOutside::listen().unwrap();
        outside.start_clock(Some(Duration::MAX));
        assert_eq!(outside.deadline, None);
        outside.start_clock(Some(Duration::from_secs(1)));
        assert!(outside.deadline.is_some());
    }
}
