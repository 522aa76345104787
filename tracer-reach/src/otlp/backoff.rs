//! When to try again.

use std::{
    hash::{BuildHasher as _, RandomState},
    time::{Duration, Instant},
};

/// The longest pause that a collector can ask for.
const LONGEST_ASKED: Duration = Duration::from_mins(5);

/// Pauses that double with each failure, up to a limit, and differ by a quarter at random, so that the recorders of many
/// machines do not come back at once.
#[derive(Debug)]
pub(super) struct Backoff {
    first: Duration,
    most: Duration,
    failures: u32,
    not_before: Option<Instant>,
}

impl Backoff {
    pub(super) fn new(first: Duration, most: Duration) -> Self {
        Self { first, most, failures: 0, not_before: None }
    }

    /// When the next try may be; `None` for at once.
    pub(super) fn not_before(&self) -> Option<Instant> {
        self.not_before
    }

    /// A try succeeded, or nothing is to be tried again.
    pub(super) fn reset(&mut self) {
        (self.failures, self.not_before) = (0, None);
    }

    /// A try failed. The collector may have asked for a pause.
    pub(super) fn failed(&mut self, now: Instant, asked: Option<Duration>) {
        let pause = self.first.saturating_mul(1 << self.failures.min(16)).min(self.most);
        self.failures = self.failures.saturating_add(1);
        // RandomState has a new key each time.
        let random = RandomState::new().hash_one(0_u8) % 1_000;
        let pause = pause.mul_f64(0.75 + random as f64 / 2_000.0);
        let asked = asked.unwrap_or_default().min(LONGEST_ASKED);
        self.not_before = Some(now + pause.max(asked));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_limit_and_never_are_shorter_than_asked() {
        let (first, most) = (Duration::from_secs(1), Duration::from_secs(30));
        let (mut backoff, now) = (Backoff::new(first, most), Instant::now());
        let mut pauses = Vec::new();
        for _ in 0..40 {
            backoff.failed(now, None);
            pauses.push((backoff.not_before().unwrap() - now).as_secs_f64());
        }
        for (pause, mean) in pauses.iter().zip([1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]) {
            assert!((0.75 * mean..1.25 * mean).contains(pause), "{pauses:?}");
        }
        assert!(pauses.iter().all(|pause| *pause <= 37.5), "{pauses:?}");
        let distinct = pauses[10..].iter().filter(|pause| **pause != pauses[10]).count();
        assert!(distinct > 20, "{pauses:?}");
        backoff.failed(now, Some(Duration::from_secs(90)));
        assert_eq!(backoff.not_before(), Some(now + Duration::from_secs(90)));
        backoff.failed(now, Some(Duration::from_hours(9)));
        assert_eq!(backoff.not_before(), Some(now + LONGEST_ASKED));
        backoff.reset();
        assert_eq!(backoff.not_before(), None);
    }
}
