//! Targets that have not ended, as far as anybody knows.

use std::{
    collections::BTreeSet,
    ops::Bound::{Excluded, Unbounded},
};

use tracer_common::id::ProcessId;

/// So many looks see all of them.
const TURNS: usize = 64;
/// Processes that one look is worth at least.
const AT_LEAST: usize = 16;

/// Who was told to have begun, and not to have ended.
#[derive(Debug, Default)]
pub(super) struct Alive {
    known: BTreeSet<ProcessId>,
    /// Where the next look goes on.
    seen_last: Option<ProcessId>,
}

impl Alive {
    /// A process is there.
    pub(super) fn insert(&mut self, process: ProcessId) {
        self.known.insert(process);
    }

    /// A process has ended; whether it was the last.
    pub(super) fn ended(&mut self, process: &ProcessId) -> bool {
        self.known.remove(process) && self.known.is_empty()
    }

    /// Whether nobody is left. Word of an end can be lost, so some are looked up each time that this is asked,
    /// in turns: of a large tree there are too many to look them all up.
    pub(super) fn are_gone(&mut self, is_there: impl Fn(&ProcessId) -> bool) -> bool {
        let some = self.known.len().div_ceil(TURNS).max(AT_LEAST);
        let behind = self.seen_last.map_or(Unbounded, Excluded);
        let in_turn = self.known.range((behind, Unbounded)).chain(&self.known);
        let looked_up: Vec<ProcessId> = in_turn.take(some).copied().collect();
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

    fn alive(count: u32) -> Alive {
        let mut alive = Alive::default();
        (1..=count).for_each(|tgid| alive.insert(ProcessId::new(tgid, 1)));
        alive
    }

    #[test]
    fn thousands_whose_end_nobody_told_are_found_gone() {
        let mut alive = alive(10_000);
        // Fewer are left each time, and so fewer are looked up.
        let looks = (1..).find(|_| alive.are_gone(|_| false));
        assert!(looks.is_some_and(|looks| looks < 10 * TURNS), "{looks:?}");
    }

    #[test]
    fn one_that_is_there_among_thousands_is_waited_for() {
        let mut alive = alive(10_000);
        let survivor = ProcessId::new(5_000, 1);
        assert!(!(0..1_000).any(|_| alive.are_gone(|process| *process == survivor)));
        assert_eq!(alive.known, BTreeSet::from([survivor]));
        assert!(alive.ended(&survivor));
    }

    #[test]
    fn everybody_has_a_turn() {
        let mut alive = alive(1_000);
        let seen = std::cell::RefCell::new(BTreeSet::new());
        for _ in 0..TURNS {
            alive.are_gone(|process| {
                seen.borrow_mut().insert(*process);
                true
            });
        }
        assert_eq!(seen.borrow().len(), 1_000);
    }
}
