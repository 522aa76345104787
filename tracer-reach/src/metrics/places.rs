//! The places that have series of their own.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use super::workload::Where;

/// How many places have series of their own.
pub(super) const MOST_PLACES: usize = 250;
/// A place in which nothing has happened for so long gives its series to a new one: every scraper has seen them.
const IDLE: Duration = Duration::from_secs(3_600);

/// The places, with the time when something last happened there.
#[derive(Debug, Default)]
pub(super) struct Places {
    known: BTreeMap<Where, Instant>,
}

/// The series in which a place is counted.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Series {
    /// Its own.
    Own,
    /// Its own, and those of this place are to be removed.
    InsteadOf(Where),
    /// Those of [`Where::other`].
    Shared,
}

impl Places {
    /// Something happens in a place.
    pub(super) fn meet(&mut self, place: &Where, now: Instant) -> Series {
        if let Some(latest) = self.known.get_mut(place) {
            *latest = now;
            return Series::Own;
        }
        if self.known.len() < MOST_PLACES {
            self.known.insert(place.clone(), now);
            return Series::Own;
        }
        let oldest = self.known.iter().min_by_key(|(_, latest)| **latest);
        let idle = oldest.filter(|(_, latest)| now.saturating_duration_since(**latest) > IDLE);
        let Some(idle) = idle.map(|(place, _)| place.clone()) else { return Series::Shared };
        self.known.remove(&idle);
        self.known.insert(place.clone(), now);
        Series::InsteadOf(idle)
    }

    /// The number of places with series of their own.
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(number: usize) -> Where {
        Where { workload: format!("w{number:04}"), ..Where::default() }
    }

    #[test]
    fn a_place_that_is_idle_for_long_makes_room() {
        let (mut places, begin) = (Places::default(), Instant::now());
        for number in 0..MOST_PLACES {
            assert_eq!(places.meet(&place(number), begin), Series::Own);
        }
        let soon = begin + IDLE;
        assert_eq!(places.meet(&place(9_000), soon), Series::Shared);
        assert_eq!(places.meet(&place(0), soon), Series::Own);
        let later = soon + Duration::from_secs(1);
        assert_eq!(places.meet(&place(9_000), later), Series::InsteadOf(place(1)));
        assert_eq!(places.meet(&place(9_000), later), Series::Own);
        assert_eq!(places.meet(&place(0), later), Series::Own);
        assert_eq!(places.len(), MOST_PLACES);
    }
}
