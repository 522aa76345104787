//! What each command has added to the counts so far.
//!
//! The entry of a command says its totals since it began, and a command that runs for long has several. The counts get
//! what each entry adds to those before it. Totals that have become smaller add nothing: a counter cannot fall.

use std::collections::{BTreeMap, HashMap, hash_map::Entry as Slot};

use tracer_history::Fate;

/// The most commands that run and have an entry already. Others count when they end.
const MOST_JOBS: usize = 4_096;

/// What tells a command from all others: its pid, and when it started, nanoseconds since boot.
pub(super) type Key = (u32, u64);

/// The route of bytes: the fd that they were written to, and a hash of the destination.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Route {
    pub(super) fd: i32,
    pub(super) destination: u64,
}

/// Bytes of one route.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Bytes {
    pub(super) written: u64,
    pub(super) fate: Fate,
    /// The rule under which a loss counts.
    pub(super) rule: &'static str,
}

impl Bytes {
    /// Each of the numbers of two.
    fn with(&self, other: &Self, both: impl Fn(u64, u64) -> u64) -> Self {
        let (own, its) = (&self.fate, &other.fate);
        Self {
            written: both(self.written, other.written),
            fate: Fate {
                delivered: both(own.delivered, its.delivered),
                lost: both(own.lost, its.lost),
                discarded: both(own.discarded, its.discarded),
                unknown: both(own.unknown, its.unknown),
                refused: both(own.refused, its.refused),
            },
            rule: self.rule,
        }
    }

    /// The sum of two.
    pub(super) fn plus(&self, other: &Self) -> Self {
        let rule = if self.fate.lost > 0 { self.rule } else { other.rule };
        Self { rule, ..self.with(other, u64::saturating_add) }
    }
}

/// What an entry adds to the counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Added<'a> {
    /// The entry counts, with what is new in it.
    Counts {
        /// Bytes that are new, by route.
        bytes: BTreeMap<Route, Bytes>,
        /// Findings that are new.
        findings: Vec<&'a tracer_history::Finding>,
    },
    /// There is no room to remember it. It counts when the command has ended.
    Later,
}

/// What was counted of a command.
#[derive(Debug, Default)]
struct Counted {
    bytes: BTreeMap<Route, Bytes>,
    findings: Vec<String>,
}

/// The commands that run and have an entry already.
#[derive(Debug, Default)]
pub(super) struct Jobs {
    counted: HashMap<Key, Counted>,
}

impl Jobs {
    /// Takes an entry with these totals and findings, and returns what it adds. `is_interim`: whether the command still
    /// runs.
    pub(super) fn add<'a>(
        &mut self,
        key: Key,
        is_interim: bool,
        totals: BTreeMap<Route, Bytes>,
        findings: &'a [tracer_history::Finding],
    ) -> Added<'a> {
        let has_room = self.counted.len() < MOST_JOBS;
        let mut counted = match self.counted.entry(key) {
            Slot::Occupied(known) if !is_interim => known.remove(),
            Slot::Vacant(_) if !is_interim => Counted::default(),
            Slot::Vacant(_) if !has_room => return Added::Later,
            Slot::Vacant(slot) => std::mem::take(slot.insert(Counted::default())),
            Slot::Occupied(mut known) => std::mem::take(known.get_mut()),
        };
        let bytes = totals.into_iter().map(|(route, mut now)| {
            if is_interim {
                // It may still be read.
                now.fate.unknown = 0;
            }
            let before = counted.bytes.entry(route).or_default();
            let new = now.with(before, u64::saturating_sub);
            *before = now.with(before, u64::max);
            (route, new)
        });
        let bytes = bytes.collect();
        // The first of a rule is the worst.
        let mut new: Vec<&tracer_history::Finding> = Vec::new();
        for finding in findings.iter().filter(|it| !counted.findings.contains(&it.rule)) {
            if !new.iter().any(|known| known.rule == finding.rule) {
                new.push(finding);
            }
        }
        if is_interim {
            counted.findings.extend(new.iter().map(|finding| finding.rule.clone()));
            self.counted.insert(key, counted);
        }
        Added::Counts { bytes, findings: new }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: Key = (7, 1);

    fn bytes(written: u64, delivered: u64, lost: u64) -> Bytes {
        let unknown = written - delivered - lost;
        let fate = Fate { delivered, lost, unknown, ..Fate::default() };
        Bytes { written, fate, rule: tracer_history::rule::UNREAD }
    }

    fn route(destination: u64) -> Route {
        Route { fd: 1, destination }
    }

    /// What the entries of one command add. Each entry has totals by destination; the last entry is that of the end.
    fn added(entries: &[&[(u64, Bytes)]]) -> Vec<Bytes> {
        let mut jobs = Jobs::default();
        let one = |(at, totals): (usize, &&[(u64, Bytes)])| {
            let totals = totals.iter().map(|(to, bytes)| (route(*to), *bytes)).collect();
            let is_interim = at + 1 < entries.len();
            match jobs.add(KEY, is_interim, totals, &[]) {
                Added::Counts { bytes, .. } => {
                    bytes.values().fold(Bytes::default(), |sum, new| sum.plus(new))
                }
                Added::Later => panic!(),
            }
        };
        let added = entries.iter().enumerate().map(one).collect();
        assert!(jobs.counted.is_empty(), "an ended command is remembered");
        added
    }

    #[test]
    fn each_entry_adds_what_is_new_in_it() {
        let found = added(&[
            &[(5, bytes(100, 60, 0))],
            &[(5, bytes(100, 100, 0))],
            &[(5, bytes(400, 300, 0)), (6, bytes(7, 7, 0))],
            &[(5, bytes(1_000, 900, 80)), (6, bytes(7, 7, 0))],
        ]);
        let sum = found.iter().fold(Bytes::default(), |sum, new| sum.plus(new));
        // What waited is not counted before the end.
        assert_eq!(found.iter().map(|new| new.fate.unknown).collect::<Vec<_>>(), [0, 0, 0, 20]);
        assert_eq!((found[1].written, found[1].fate.delivered), (0, 40));
        assert_eq!(sum, bytes(1_007, 907, 80));
    }

    /// A file that had the bytes was removed later; the objects of a loop of redirections are forgotten.
    #[test]
    fn totals_that_become_smaller_take_nothing_back() {
        let found = added(&[
            &[(5, bytes(100, 100, 0))],
            &[(6, bytes(9, 9, 0))],
            &[(5, bytes(150, 0, 150))],
        ]);
        assert_eq!(found[1].written, 9);
        assert_eq!((found[2].written, found[2].fate.lost, found[2].fate.delivered), (50, 150, 0));
    }

    #[test]
    fn a_finding_counts_once_for_each_command() {
        let finding =
            |rule: &str| tracer_history::Finding { rule: rule.into(), severity: "warning".into() };
        let (stuck, end) = ([finding("stuck")], [finding("stuck"), finding("unread")]);
        let mut jobs = Jobs::default();
        let mut rules =
            |is_interim, findings| match jobs.add(KEY, is_interim, BTreeMap::new(), findings) {
                Added::Counts { findings, .. } => {
                    findings.iter().map(|finding| finding.rule.clone()).collect::<Vec<_>>()
                }
                Added::Later => panic!(),
            };
        assert_eq!(rules(true, &stuck), ["stuck"]);
        assert_eq!(rules(true, &stuck), Vec::<String>::new());
        assert_eq!(rules(false, &end), ["unread"]);
        assert_eq!(rules(false, &end), ["stuck", "unread"], "the next command with this pid");
    }

    #[test]
    fn without_room_a_command_counts_when_it_ends() {
        let mut jobs = Jobs::default();
        let totals = || BTreeMap::from([(route(5), bytes(10, 10, 0))]);
        for pid in 0..u32::try_from(MOST_JOBS).unwrap() {
            jobs.add((pid, 1), true, totals(), &[]);
        }
        assert_eq!(jobs.add((0, 2), true, totals(), &[]), Added::Later);
        assert_eq!(jobs.counted.len(), MOST_JOBS);
        let Added::Counts { bytes, .. } = jobs.add((0, 2), false, totals(), &[]) else { panic!() };
        assert_eq!(bytes[&route(5)].written, 10);
    }
}
