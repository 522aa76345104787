//! Compares a contender's count with the loop's own.

use std::fmt;

use serde::Serialize;
use tracer_core::text::units;

use crate::{
    cost::load::Truth,
    harness::{
        report::{Losses, Process, Report},
        table::{number, whole},
    },
};

/// What a contender counted of the tree's writes to stdout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Counted {
    /// It does not count, or its count is not read.
    Nothing,
    /// Bytes.
    Bytes(u64),
    /// `write` calls, to any fd.
    Calls(u64),
    /// The counts in tracer's report.
    Tracer(TracerCounts),
}

/// Counts in a report of tracer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TracerCounts {
    /// Writes to stdout.
    pub(crate) writes: u64,
    /// Their bytes.
    pub(crate) bytes: u64,
    /// Children of the loop's process.
    pub(crate) children: u64,
    /// Events that tracer could not record, by reason. Reasons without a loss are absent.
    pub(crate) losses: Losses,
    /// Bytes missing from the capture, except those beyond a limit of the user.
    pub(crate) uncaptured: u64,
}

impl TracerCounts {
    /// Adds up what all processes wrote to stdout, and counts the children of `root`.
    pub(crate) fn of(report: &Report, root: u32) -> Self {
        let rows = || report.processes.iter().flat_map(Process::stdout);
        let children = report.processes.iter().filter(|process| process.ppid == Some(root));
        Self {
            writes: rows().map(|row| row.writes).sum(),
            bytes: rows().map(|row| row.bytes).sum(),
            children: children.count() as u64,
            losses: report.losses(),
            uncaptured: report.uncaptured(),
        }
    }
}

/// The difference between a contender's count and the loop's own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Difference {
    /// Whether the contender counted.
    pub(crate) counted: bool,
    /// Missing writes, or missing bytes if only bytes are counted. Negative if it counted too many.
    pub(crate) missing: i64,
    /// Missing processes.
    pub(crate) missing_processes: i64,
    /// Events that tracer could not record, by reason.
    pub(crate) losses: Losses,
    /// Bytes missing from the capture.
    pub(crate) uncaptured: u64,
}

impl Difference {
    /// Compares. `lines` is the number of lines that the loop wrote to other fds.
    pub(crate) fn between(counted: &Counted, truth: &Truth, lines: u64) -> Self {
        let difference = Self { counted: true, ..Self::default() };
        match counted {
            Counted::Nothing => Self::default(),
            Counted::Bytes(bytes) => Self { missing: minus(truth.bytes, *bytes), ..difference },
            Counted::Calls(calls) => {
                Self { missing: minus(truth.writes + lines, *calls), ..difference }
            }
            Counted::Tracer(counts) => {
                let writes = minus(truth.writes, counts.writes);
                let bytes = minus(truth.bytes, counts.bytes);
                Self {
                    missing: if writes == 0 { bytes } else { writes },
                    missing_processes: minus(truth.processes + truth.standing, counts.children),
                    losses: counts.losses.clone(),
                    uncaptured: counts.uncaptured,
                    ..difference
                }
            }
        }
    }

    /// For loops whose writes are not known: the losses that the contender reports.
    pub(crate) fn of_losses(counted: &Counted) -> Self {
        match counted {
            Counted::Tracer(counts) => {
                let (losses, uncaptured) = (counts.losses.clone(), counts.uncaptured);
                Self { losses, uncaptured, ..Self::default() }
            }
            _ => Self::default(),
        }
    }

    /// Whether writes, bytes and processes agree and nothing was lost.
    pub(crate) fn is_exact(&self) -> bool {
        self.missing == 0 && self.missing_processes == 0 && self.losses.is_empty()
    }

    /// Adds the difference of another round.
    pub(crate) fn add(&mut self, other: &Self) {
        self.counted |= other.counted;
        self.missing += other.missing;
        self.missing_processes += other.missing_processes;
        for (reason, events) in &other.losses {
            *self.losses.entry(reason.clone()).or_default() += events;
        }
        self.uncaptured += other.uncaptured;
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        if self.missing != 0 {
            parts.push(format!(
                "{}{} missing",
                sign(self.missing),
                whole(self.missing.unsigned_abs())
            ));
        }
        if self.missing_processes != 0 {
            parts.push(format!(
                "{}{} processes missing",
                sign(self.missing_processes),
                whole(self.missing_processes.unsigned_abs())
            ));
        }
        for (reason, events) in &self.losses {
            parts.push(format!("says {reason}: {}", whole(*events)));
        }
        if self.uncaptured != 0 {
            parts.push(format!("{} not captured", bytes(self.uncaptured)));
        }
        f.write_str(&match (parts.is_empty(), self.counted) {
            (true, true) => "exact".to_owned(),
            (true, false) => "–".to_owned(),
            _ => parts.join(", "),
        })
    }
}

fn sign(number: i64) -> &'static str {
    if number < 0 { "−" } else { "" }
}

/// Formats a number of bytes in B or MB.
fn bytes(bytes: u64) -> String {
    if bytes < 1_000_000 {
        return units::exact(bytes);
    }
    format!("{} MB", number(bytes as f64 / 1e6))
}

fn minus(truth: u64, counted: u64) -> i64 {
    i64::try_from(i128::from(truth) - i128::from(counted)).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use tracer_common::loss::Reason;

    use super::*;

    const TRUTH: Truth = Truth { writes: 10, bytes: 320, processes: 2, standing: 0 };

    fn counts() -> TracerCounts {
        TracerCounts { writes: 10, bytes: 320, children: 2, ..TracerCounts::default() }
    }

    fn one_loss() -> Losses {
        Losses::from([(Reason::RingFull.into(), 1)])
    }

    fn between(counted: &Counted) -> Difference {
        Difference::between(counted, &TRUTH, 1)
    }

    #[test]
    fn equal_counts_are_exact() {
        let difference = between(&Counted::Tracer(counts()));
        assert!(difference.counted && difference.is_exact());
        assert_eq!(difference.to_string(), "exact");
    }

    #[test]
    fn each_kind_of_difference_is_not_exact() {
        for wrong in [
            TracerCounts { writes: 9, ..counts() },
            TracerCounts { bytes: 319, ..counts() },
            TracerCounts { bytes: 321, ..counts() },
            TracerCounts { children: 1, ..counts() },
            TracerCounts { losses: one_loss(), ..counts() },
        ] {
            assert!(!between(&Counted::Tracer(wrong.clone())).is_exact(), "{wrong:?}");
        }
    }

    #[test]
    fn bytes_missing_from_the_capture_are_reported_and_counts_stay_exact() {
        let difference = between(&Counted::Tracer(TracerCounts { uncaptured: 7, ..counts() }));
        assert!(difference.is_exact());
        assert_eq!(difference.to_string(), "7 B not captured");
    }

    #[test]
    fn a_count_of_calls_has_the_lines_of_the_loop_itself() {
        assert_eq!(between(&Counted::Calls(11)).missing, 0);
        assert_eq!(between(&Counted::Calls(4)).missing, 7);
        assert_eq!(between(&Counted::Bytes(330)).missing, -10);
    }

    #[test]
    fn no_count_is_neither_a_difference_nor_exact() {
        assert_eq!(between(&Counted::Nothing).to_string(), "–");
    }

    #[test]
    fn losses_are_reported_by_name_even_if_the_writes_are_not_known() {
        let counted = Counted::Tracer(TracerCounts { losses: one_loss(), writes: 7, ..counts() });
        let mut difference = Difference::of_losses(&counted);
        difference.add(&Difference::of_losses(&counted));
        assert_eq!(difference.to_string(), "says ring_full: 2");
        assert_eq!(Difference::of_losses(&Counted::Tracer(counts())).to_string(), "–");
    }

    #[test]
    fn sleepers_are_children_too() {
        let counted = Counted::Tracer(TracerCounts { children: 1002, ..counts() });
        let truth = Truth { standing: 1000, ..TRUTH };
        assert!(Difference::between(&counted, &truth, 0).is_exact());
        assert!(!Difference::between(&counted, &TRUTH, 0).is_exact());
    }

    #[test]
    fn a_report_is_added_up() {
        let text = r#"{"schema":"tracer.report/1","losses":{"ring_full":2,"ledger_full":0},
            "lost_bytes":{},"objects":[],"findings":[],
            "processes":[{"pid":60,"ppid":1,"fds":[
            {"fd":1,"kind":"null","object":"/dev/null","bytes":64,"writes":2},
            {"fd":2,"kind":"null","object":"/dev/null","bytes":7,"writes":7}]},{"pid":61,"ppid":60,"fds":[
            {"fd":1,"kind":"null","object":"/dev/null","bytes":1,"writes":1}]}],
            "capture":{"streams":[{"gaps":[{"reason":"limit","bytes":9},{"reason":"ring_full","bytes":4}]}]}}"#;
        let report: Report = serde_json::from_str(text).unwrap();
        let losses = Losses::from([(Reason::RingFull.into(), 2)]);
        let counts = TracerCounts { writes: 3, bytes: 65, children: 1, losses, uncaptured: 4 };
        assert_eq!(TracerCounts::of(&report, 60), counts);
    }
}
