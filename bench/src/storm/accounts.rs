//! The two accounts of a storm: its own, and tracer's.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::AddAssign,
};

use serde::Deserialize;
use tracer_core::verdict::{Confidence, Rule};

use crate::harness::report::{Losses, Report};

/// Number of processes by the bytes that they wrote to stdout.
pub(super) type Histogram = BTreeMap<u64, u64>;

/// The last line of `load`.
#[derive(Debug, Deserialize)]
pub(super) struct LoadOutput {
    pub(super) truth: Truth,
}

/// What the processes of a storm wrote to stdout, without its root process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) struct Truth {
    pub(super) processes: u64,
    pub(super) writes: u64,
    pub(super) bytes: u64,
    #[serde(default)]
    pub(super) pipes: u64,
    #[serde(default)]
    pub(super) each: Histogram,
}

impl AddAssign for Truth {
    fn add_assign(&mut self, other: Self) {
        let Self { processes, writes, bytes, pipes, each } = other;
        self.processes += processes;
        self.writes += writes;
        self.bytes += bytes;
        self.pipes += pipes;
        for (bytes, processes) in each {
            *self.each.entry(bytes).or_default() += processes;
        }
    }
}

/// What tracer counted.
#[derive(Clone, Debug, Default)]
pub(super) struct Counted {
    /// The counts that the storm has too.
    pub(super) truth: Truth,
    /// Pipes whose written and read bytes do not agree.
    pub(super) unbalanced: u64,
    /// Events that tracer could not record, by reason. Reasons without a loss are absent.
    pub(super) losses: Losses,
    /// The lost bytes, for reasons where they are known.
    pub(super) lost_bytes: Losses,
    /// Rule and confidence of each finding, most important first.
    pub(super) findings: Vec<(Rule, Confidence)>,
}

impl Counted {
    /// Adds up what processes wrote to stdout.
    pub(super) fn of(report: Report) -> Self {
        let mut truth = Truth::default();
        let mut pipes = BTreeSet::new();
        for process in &report.processes {
            truth.processes += 1;
            let bytes = process.stdout().map(|row| row.bytes).sum();
            truth.writes += process.stdout().map(|row| row.writes).sum::<u64>();
            truth.bytes += bytes;
            if bytes > 0 {
                *truth.each.entry(bytes).or_default() += 1;
            }
            let into = process.stdout().filter(|row| row.kind == "pipe" && row.bytes > 0);
            pipes.extend(into.map(|row| row.object.as_str()));
        }
        truth.pipes = pipes.len() as u64;
        // A storm does not count its root process.
        truth.processes = truth.processes.saturating_sub(1);
        let unbalanced = report.objects.iter().filter(|object| object.balanced == Some(false));
        Self {
            truth,
            unbalanced: unbalanced.count() as u64,
            losses: report.losses(),
            lost_bytes: report.lost_bytes(),
            findings: report.findings.into_iter().map(|it| (it.rule, it.confidence)).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use tracer_common::loss::Reason;

    use super::*;

    #[test]
    fn a_report_is_added_up() {
        let text = r#"{"processes":[{"fds":[{"fd":1,"kind":"null","object":"/dev/null","bytes":0,"writes":0}]},
            {"fds":[{"fd":1,"kind":"pipe","object":"pipe:[1]","bytes":5,"writes":2},
            {"fd":1,"kind":"pipe","object":"pipe:[2]","bytes":2,"writes":1},
            {"fd":5,"kind":"pipe","object":"pipe:[3]","bytes":9,"writes":1}]}],
            "objects":[{"balanced":false},{"balanced":null},{"balanced":true}],
            "findings":[{"rule":"own_losses","confidence":"certain"}],
            "losses":{"ring_full":0,"ledger_full":3},"lost_bytes":{"ledger_full":3,"ring_full":0}}"#;
        let counted = Counted::of(serde_json::from_str(text).unwrap());
        let truth =
            Truth { processes: 1, writes: 3, bytes: 7, pipes: 2, each: Histogram::from([(7, 1)]) };
        assert_eq!(counted.truth, truth);
        assert_eq!(counted.unbalanced, 1);
        let three = BTreeMap::from([(Reason::LedgerFull.into(), 3)]);
        assert_eq!((&counted.losses, &counted.lost_bytes), (&three, &three));
        assert_eq!(counted.findings, [(Rule::OwnLosses, Confidence::Certain)]);
    }

    #[test]
    fn passes_add_up() {
        let one =
            Truth { processes: 1, writes: 2, bytes: 3, pipes: 4, each: Histogram::from([(3, 1)]) };
        let mut sum = one.clone();
        sum += one;
        let two =
            Truth { processes: 2, writes: 4, bytes: 6, pipes: 8, each: Histogram::from([(3, 2)]) };
        assert_eq!(sum, two);
    }
}
