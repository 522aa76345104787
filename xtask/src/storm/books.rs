//! The two sides: what a storm says that it wrote, and what tracer's report has.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::AddAssign,
    path::Path,
};

use anyhow::Result;
use serde::Deserialize;

use crate::bench::report;

/// How many processes put so many bytes through fd 1, by bytes.
pub(super) type Each = BTreeMap<u64, u64>;

/// What `load` says when a storm is over.
#[derive(Debug, Deserialize)]
pub(super) struct Said {
    pub(super) truth: Truth,
}

/// What a storm did, its root left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) struct Truth {
    pub(super) processes: u64,
    pub(super) writes: u64,
    pub(super) bytes: u64,
    #[serde(default)]
    pub(super) pipes: u64,
    #[serde(default)]
    pub(super) each: Each,
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

/// What tracer counted of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Counted {
    /// In the same terms as the storm's own.
    pub(super) truth: Truth,
    /// Pipes whose books do not balance.
    pub(super) unbalanced: u64,
    /// tracer's own losses, by reason; only those that there were.
    pub(super) losses: BTreeMap<String, u64>,
    /// The bytes that they stood for, where known.
    pub(super) lost_bytes: BTreeMap<String, u64>,
    /// Rule and confidence of each finding, in their order.
    pub(super) findings: Vec<(String, String)>,
}

/// tracer's report, as far as it is read here.
#[derive(Deserialize)]
struct Report {
    processes: Vec<Process>,
    objects: Vec<Object>,
    findings: Vec<Finding>,
    losses: BTreeMap<String, u64>,
    lost_bytes: BTreeMap<String, u64>,
}

#[derive(Deserialize)]
struct Process {
    fds: Vec<Fd>,
}

#[derive(Deserialize)]
struct Fd {
    fd: i32,
    kind: String,
    object: String,
    bytes: u64,
    writes: u64,
}

#[derive(Deserialize)]
struct Object {
    balanced: Option<bool>,
}

#[derive(Deserialize)]
struct Finding {
    rule: String,
    confidence: String,
}

/// Reads a report.
pub(super) fn read(path: &Path) -> Result<Counted> {
    Ok(report::read::<Report>(path)?.counted())
}

impl Report {
    fn counted(self) -> Counted {
        let mut truth = Truth::default();
        let mut pipes = BTreeSet::new();
        for process in &self.processes {
            truth.processes += 1;
            let rows = || process.fds.iter().filter(|row| row.fd == 1);
            let bytes = rows().map(|row| row.bytes).sum();
            truth.writes += rows().map(|row| row.writes).sum::<u64>();
            truth.bytes += bytes;
            if bytes > 0 {
                *truth.each.entry(bytes).or_default() += 1;
            }
            let into = rows().filter(|row| row.kind == "pipe" && row.bytes > 0);
            pipes.extend(into.map(|row| row.object.as_str()));
        }
        truth.pipes = pipes.len() as u64;
        // The root is in no storm's own count.
        truth.processes = truth.processes.saturating_sub(1);
        let unbalanced = self.objects.iter().filter(|object| object.balanced == Some(false));
        let positive = |counts: BTreeMap<String, u64>| {
            counts.into_iter().filter(|(_, count)| *count > 0).collect()
        };
        Counted {
            truth,
            unbalanced: unbalanced.count() as u64,
            losses: positive(self.losses),
            lost_bytes: positive(self.lost_bytes),
            findings: self.findings.into_iter().map(|it| (it.rule, it.confidence)).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
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
        let report: Report = serde_json::from_str(text).unwrap();
        let counted = report.counted();
        let truth =
            Truth { processes: 1, writes: 3, bytes: 7, pipes: 2, each: Each::from([(7, 1)]) };
        assert_eq!(counted.truth, truth);
        assert_eq!(counted.unbalanced, 1);
        let three = BTreeMap::from([("ledger_full".to_owned(), 3)]);
        assert_eq!((&counted.losses, &counted.lost_bytes), (&three, &three));
        assert_eq!(counted.findings, [("own_losses".to_owned(), "certain".to_owned())]);
    }

    #[test]
    fn passes_add_up() {
        let one = Truth { processes: 1, writes: 2, bytes: 3, pipes: 4, each: Each::from([(3, 1)]) };
        let mut sum = one.clone();
        sum += one;
        let two = Truth { processes: 2, writes: 4, bytes: 6, pipes: 8, each: Each::from([(3, 2)]) };
        assert_eq!(sum, two);
    }
}
