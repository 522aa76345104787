//! The targets that have not ended, as far as tracer knows.

use std::{
    collections::BTreeSet,
    ops::Bound::{Excluded, Unbounded},
};

use tracer_common::id::ProcessId;

/// How many calls of [`LiveTargets::are_gone`] check all targets.
const TURNS: usize = 64;
/// How many targets one call checks at least.
const AT_LEAST: usize = 16;

/// Targets whose start was reported, and whose end was not.
#[derive(Debug, Default)]
pub(super) struct LiveTargets {
    known: BTreeSet<ProcessId>,
    /// The last target that was checked. The next check continues behind it.
    seen_last: Option<ProcessId>,
}

impl LiveTargets {
    /// Adds a process that runs.
    pub(super) fn insert(&mut self, process: ProcessId) {
        self.known.insert(process);
    }

    /// Removes a process that has ended. Returns whether it was the last one.
    pub(super) fn ended(&mut self, process: &ProcessId) -> bool {
        self.known.remove(process) && self.known.is_empty()
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    /// At most `most` of them: those behind the process `last`, then those from the first on.
    pub(super) fn some_behind(
        &self,
        last: Option<ProcessId>,
        most: usize,
    ) -> impl Iterator<Item = ProcessId> {
        let behind = last.map_or(Unbounded, Excluded);
        let in_turn = self.known.range((behind, Unbounded)).chain(&self.known);
        in_turn.take(most.min(self.known.len())).copied()
    }

    /// Whether all targets have ended. The record of an end can be lost, so each call checks some targets, in turn. A
    /// large tree has too many for one call.
    pub(super) fn are_gone(&mut self, is_there: impl Fn(&ProcessId) -> bool) -> bool {
        let some = self.known.len().div_ceil(TURNS).max(AT_LEAST);
        let looked_up: Vec<ProcessId> = self.some_behind(self.seen_last, some).collect();
        self.seen_last = looked_up.last().copied();
        for process in looked_up.iter().filter(|process| !is_there(process)) {
            self.known.remove(process);
        }
        self.known.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn live(count: u32) -> LiveTargets {
        let mut targets = LiveTargets::default();
        (1..=count).for_each(|tgid| targets.insert(ProcessId::new(tgid, 1)));
        targets
    }

    #[test]
    fn targets_whose_end_was_not_reported_are_found() {
        let mut targets = live(10_000);
        // The number of targets decreases, and with it the number of checks.
        let checks = (1..).find(|_| targets.are_gone(|_| false));
        assert!(checks.is_some_and(|checks| checks < 10 * TURNS), "{checks:?}");
    }

    #[test]
    fn one_that_is_there_among_thousands_is_waited_for() {
        let mut targets = live(10_000);
        let survivor = ProcessId::new(5_000, 1);
        assert!(!(0..1_000).any(|_| targets.are_gone(|process| *process == survivor)));
        assert_eq!(targets.known, BTreeSet::from([survivor]));
        assert!(targets.ended(&survivor));
    }

    #[test]
    fn every_target_is_checked_in_turn() {
        let mut targets = live(1_000);
        let seen = std::cell::RefCell::new(BTreeSet::new());
        for _ in 0..TURNS {
            targets.are_gone(|process| {
                seen.borrow_mut().insert(*process);
                true
            });
        }
        assert_eq!(seen.borrow().len(), 1_000);
    }
}
