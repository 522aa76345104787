//! What the daemon tells systemd (`sd_notify(3)`): that it is ready, that it is alive, and that it stops.

use std::time::{Duration, Instant};

use sd_notify::NotifyState;

/// The connection to the service manager. Does nothing if there is none.
pub(super) struct Service {
    /// How often to say that the daemon is alive: half of what `WatchdogSec=` allows.
    watchdog: Option<Duration>,
    next: Instant,
}

impl Service {
    pub(super) fn new() -> Self {
        let watchdog = sd_notify::watchdog_enabled().map(|allowed| allowed / 2);
        Self { watchdog, next: Instant::now() }
    }

    /// Every hook is attached: what starts from now on is recorded.
    pub(super) fn is_ready(&self) {
        tell(&[NotifyState::Ready, NotifyState::Status("recording")]);
    }

    /// The main loop has made a turn.
    pub(super) fn is_alive(&mut self) {
        let Some(pause) = self.watchdog else { return };
        let now = Instant::now();
        if now >= self.next {
            self.next = now + pause;
            tell(&[NotifyState::Watchdog]);
        }
    }

    /// The daemon writes what is left, and ends.
    pub(super) fn stops(&self) {
        tell(&[NotifyState::Stopping]);
    }
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!("cannot tell the service manager: {error}");
    }
}
