//! When work that is done again and again may be done next, so that it takes a small part of the time whatever it costs.

use std::time::{Duration, Instant};

/// One part in this many of the time is the most that the work takes.
const SHARE: u32 = 100;

/// The earliest time of the next turn.
#[derive(Debug)]
pub(super) struct Pace {
    next: Instant,
}

impl Pace {
    /// The first turn may be taken now.
    pub(super) fn new(now: Instant) -> Self {
        Self { next: now }
    }

    /// Whether the next turn may be taken.
    pub(super) fn allows(&self, now: Instant) -> bool {
        now >= self.next
    }

    /// A turn is over that took this long.
    pub(super) fn took(&mut self, cost: Duration, now: Instant) {
        self.next = now + cost.saturating_mul(SHARE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_costs_much_is_done_seldom() {
        let (began, step) = (Instant::now(), Duration::from_millis(100));
        for cost in [Duration::from_micros(50), Duration::from_millis(90)] {
            let (mut pace, mut now, mut total) = (Pace::new(began), began, Duration::ZERO);
            let mut turns = 0;
            while now < began + Duration::from_secs(90) {
                if pace.allows(now) {
                    (now, total, turns) = (now + cost, total + cost, turns + 1);
                    pace.took(cost, now);
                }
                now += step;
            }
            assert!(total <= (now - began) / SHARE + cost, "{cost:?}: {total:?}");
            assert!(turns >= 10, "{cost:?}: {turns}");
        }
    }
}
