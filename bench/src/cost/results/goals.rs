//! Goals of tracer's cost, compared with the measured values.

use serde::Serialize;

use super::Results;
use crate::{
    cost::{
        comparison::{
            Comparison,
            contender::Contender::{self, Bpftrace, Floor, Native, PerfTrace, Strace, Tracer},
            figures,
        },
        growth,
        gvisor::Gvisor,
    },
    harness::table::{Table, number, whole},
};

/// A goal.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Goal {
    /// Description.
    pub(crate) text: &'static str,
    /// The measured value, if this run measured it.
    pub(crate) measured: Option<f64>,
    /// The bound.
    pub(crate) bound: f64,
    /// The side of the bound that reaches the goal.
    pub(crate) wants: Wants,
    /// The unit, which is printed after the number.
    pub(crate) unit: &'static str,
}

/// The unit of counts, which are printed without fractions.
const WRITES: &str = " writes";

/// The side of the bound that reaches a goal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Wants {
    /// At most the bound.
    AtMost,
    /// At least the bound.
    AtLeast,
}

impl Goal {
    fn at_most(bound: f64, unit: &'static str, text: &'static str, measured: Option<f64>) -> Self {
        Self { text, measured, bound, wants: Wants::AtMost, unit }
    }

    fn at_least(bound: f64, unit: &'static str, text: &'static str, measured: Option<f64>) -> Self {
        Self { text, measured, bound, wants: Wants::AtLeast, unit }
    }

    /// Whether it is reached; `None` if it was not measured.
    pub(crate) fn is_reached(&self) -> Option<bool> {
        let measured = self.measured?;
        Some(match self.wants {
            Wants::AtMost => measured <= self.bound,
            Wants::AtLeast => measured >= self.bound,
        })
    }
}

/// All goals, in the order of the table.
pub(crate) fn all(results: &Results) -> Vec<Goal> {
    let mut goals = of_writes(results);
    goals.extend(of_innocents(results));
    goals.extend(of_start_and_size(results));
    goals.extend(of_guests(results.gvisor.as_ref()));
    goals
}

fn of_writes(results: &Results) -> Vec<Goal> {
    let write32 = results.comparison("write32");
    let ratio = |of, to| write32?.added_ratio(of, to);
    vec![
        Goal::at_most(
            0.25,
            " ×",
            "time added to a traced 32 B write, relative to bpftrace",
            ratio(Tracer, Bpftrace),
        ),
        Goal::at_most(
            0.45,
            " × native",
            "time added to a traced 32 B write, beyond the floor",
            write32.and_then(beyond_the_floor),
        ),
        Goal::at_least(
            150.0,
            " ×",
            "time added by strace, relative to tracer",
            ratio(Strace, Tracer),
        ),
        Goal::at_most(
            0.0,
            WRITES,
            "writes of any workload that tracer missed",
            missing(&results.workloads, Tracer),
        ),
        Goal::at_least(
            1.0,
            WRITES,
            "writes of write32 that perf trace missed",
            missing(write32, PerfTrace),
        ),
    ]
}

fn of_innocents(results: &Results) -> Vec<Goal> {
    let time = |name: &str| results.comparison(name)?.time_ratio(Tracer, Floor);
    let text = |name| match name {
        "innocent-getppid" => "time of an untraced getppid, relative to the floor",
        "innocent-read" => "time of an untraced read, relative to the floor",
        _ => "time of an untraced write, relative to the floor",
    };
    [("innocent-getppid", 1.10), ("innocent-read", 1.25), ("innocent-write", 1.25)]
        .map(|(name, bound)| Goal::at_most(bound, " ×", text(name), time(name)))
        .into()
}

fn of_start_and_size(results: &Results) -> Vec<Goal> {
    let tracer = results.start.iter().find(|start| start.contender == Tracer.name());
    let first_byte = tracer.and_then(|start| Some(start.first_byte_ms?.best));
    let memory = |count| growth::memory_at(&results.growth, count);
    let rss = |count| memory(count).map(|memory| memory.live.rss as f64 / 1e6);
    let growth = |kind| growth::growth_of(&results.growth, kind, 50_000);
    let report = memory(50_000).map(|memory| memory.report_s);
    vec![
        Goal::at_most(150.0, " ms", "start to first counted byte", first_byte),
        Goal::at_most(25.0, " MB", "RSS, idle", rss(1)),
        Goal::at_most(150.0, " MB", "RSS at 50,000 processes", rss(50_000)),
        Goal::at_most(1.0, " s", "report of a 50,000-process session", report),
        Goal::at_most(
            FLAT,
            " ×",
            "time of a traced write with 50,000 processes, relative to 1",
            growth(growth::Kind::Processes),
        ),
        Goal::at_most(
            FLAT,
            " ×",
            "time of a traced write with 50,000 objects, relative to 1",
            growth(growth::Kind::Objects),
        ),
    ]
}

fn of_guests(gvisor: Option<&Gvisor>) -> Vec<Goal> {
    vec![
        Goal::at_most(
            0.0,
            WRITES,
            "writes in gVisor that tracer missed without saying so",
            gvisor.and_then(Gvisor::untold),
        ),
        Goal::at_most(
            1.5,
            " ×",
            "time of a write in gVisor, relative to a discarded trace session",
            gvisor.and_then(Gvisor::beyond_floor),
        ),
    ]
}

/// The largest growth that counts as constant. A table of 50,000 rows exceeds the first-level cache.
const FLAT: f64 = 1.10;

/// The time that tracer adds beyond the floor, relative to a native write.
fn beyond_the_floor(write32: &Comparison) -> Option<f64> {
    let beyond = write32.added(Tracer)? - write32.added(Floor)?;
    figures::ratio(beyond, write32.figures(Native)?.best)
}

/// Writes that a contender missed in these workloads; `None` if it counted in none of them.
fn missing<'a>(
    workloads: impl IntoIterator<Item = &'a Comparison>,
    contender: Contender,
) -> Option<f64> {
    let rows = workloads.into_iter().filter_map(|workload| workload.row(contender));
    let counts: Vec<_> = rows.map(|row| &row.count).filter(|count| count.counted).collect();
    let missing: u64 = counts.iter().map(|count| count.missing.unsigned_abs()).sum();
    (!counts.is_empty()).then_some(missing as f64)
}

/// The table, in Markdown.
pub(crate) fn table(goals: &[Goal]) -> String {
    let mut table = Table::new(&["goal", "bound", "measured", "reached"]);
    for goal in goals {
        let sign = match goal.wants {
            Wants::AtMost => "≤",
            Wants::AtLeast => "≥",
        };
        let with_unit = |value: f64| match goal.unit {
            WRITES => format!("{}{WRITES}", whole(value as u64)),
            unit => format!("{}{unit}", number(value)),
        };
        table.add(vec![
            goal.text.to_owned(),
            format!("{sign} {}", with_unit(goal.bound)),
            goal.measured.map_or_else(|| "–".to_owned(), with_unit),
            match goal.is_reached() {
                Some(true) => "yes",
                Some(false) => "**no**",
                None => "not measured",
            }
            .to_owned(),
        ]);
    }
    table.render()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cost::comparison::tests::comparison;

    fn goal(goals: &[Goal], text: &str) -> Goal {
        let found = goals.iter().find(|goal| goal.text.contains(text)).unwrap();
        Goal { ..*found }
    }

    fn results(tracer: f64) -> Results {
        let write32 = comparison(
            "write32",
            &[
                (Native, 300.0),
                (Floor, 450.0),
                (Tracer, tracer),
                (Bpftrace, 1300.0),
                (Strace, 60_300.0),
            ],
        );
        Results { workloads: vec![write32], ..Results::default() }
    }

    #[test]
    fn the_bounds_of_a_write_are_those_of_the_ratios() {
        let goals = all(&results(550.0));
        assert_eq!(goal(&goals, "relative to bpftrace").measured, Some(0.25));
        assert_eq!(goal(&goals, "relative to bpftrace").is_reached(), Some(true));
        // (250 - 150) / 300
        let beyond = goal(&goals, "beyond the floor").measured.unwrap();
        assert!((beyond - 1.0 / 3.0).abs() < 1e-9);
        // 60,000 / 250
        assert_eq!(goal(&goals, "strace").measured, Some(240.0));
        assert_eq!(goal(&goals, "strace").is_reached(), Some(true));
    }

    #[test]
    fn a_slower_tracer_does_not_reach_them() {
        let goals = all(&results(800.0));
        for text in ["relative to bpftrace", "beyond the floor", "strace"] {
            assert_eq!(goal(&goals, text).is_reached(), Some(false), "{text}");
        }
    }

    #[test]
    fn a_goal_that_was_not_measured_is_open() {
        let goals = all(&Results::default());
        assert!(goals.iter().all(|goal| goal.is_reached().is_none()), "{goals:?}");
        assert!(table(&goals).contains("not measured"));
    }

    #[test]
    fn a_goal_is_not_reached_after_one_lost_write() {
        let mut results = results(550.0);
        assert_eq!(goal(&all(&results), "tracer missed").is_reached(), Some(true));
        let rows = &mut results.workloads[0].rows;
        rows.iter_mut().find(|row| row.contender == Tracer).unwrap().count.missing = -1;
        assert_eq!(goal(&all(&results), "tracer missed").is_reached(), Some(false));
    }
}
