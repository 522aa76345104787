//! Measures how cost and memory grow with processes and with watched objects.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;
use xtask::command::say;

use super::{
    comparison::{
        Comparison, Repetitions, Sample,
        contender::{Attached, Contender},
        count::Difference,
        figures,
        workload::Unit,
    },
    load::{Load, Plan},
    memory::{self, Memory},
};
use crate::harness::{
    fixture::{Fixture, PidMax},
    procfs,
    table::{self, Table, number, whole},
};

/// Numbers of processes and of objects.
const STEPS: [u32; 3] = [1, 1_000, 50_000];
const CONTENDERS: [Contender; 3] = [Contender::Native, Contender::Floor, Contender::Tracer];
const CALLS: u64 = 100_000;
/// Repetitions of the loop in a round. Attaching to the largest tree takes seconds, a repetition milliseconds.
const REPETITIONS: u32 = 15;
/// Upper bound of the kernel's memory for a sleeping process, in kB.
const PROCESS_KB: u64 = 150;

/// The parameter that grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// Sleeping processes in the tree.
    Processes,
    /// Open pipes that the tree has written to.
    Objects,
}

/// The results of a step.
#[derive(Debug, Serialize)]
pub(crate) struct Step {
    /// The parameter that grows.
    pub(crate) kind: Kind,
    /// Its value.
    pub(crate) count: u32,
    /// The cost of a write; [`None`] if the step was not possible.
    pub(crate) write32: Option<Comparison>,
    /// tracer's memory; only for processes.
    pub(crate) memory: Option<Memory>,
    /// The reason why a result is missing.
    pub(crate) absent: Option<String>,
}

/// Measures all steps of both kinds.
pub(crate) fn measure(fixture: &Fixture, rounds: u32) -> Vec<Step> {
    let kinds = [Kind::Processes, Kind::Objects];
    let steps = kinds.into_iter().flat_map(|kind| STEPS.map(|count| (kind, count)));
    steps.map(|(kind, count)| step(fixture, kind, count, rounds)).collect()
}

fn step(fixture: &Fixture, kind: Kind, count: u32, rounds: u32) -> Step {
    let mut step = Step { kind, count, write32: None, memory: None, absent: None };
    say(&format!("growth: {count} {}", kind.name()));
    if let Err(error) = fill(fixture, &mut step, rounds) {
        step.absent = Some(format!("{error:#}"));
    }
    step
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Processes => "processes",
            Self::Objects => "objects",
        }
    }
}

fn fill(fixture: &Fixture, step: &mut Step, rounds: u32) -> Result<()> {
    let of_processes = step.kind == Kind::Processes;
    // The loop is one of the processes.
    let sleepers = if of_processes { step.count - 1 } else { 0 };
    let _pids = if sleepers > 0 { Some(PidMax::at_least(sleepers)?) } else { None };
    ensure_memory(sleepers)?;
    let objects = if of_processes { 0 } else { u64::from(step.count) };
    let plan = Plan { name: "write32", calls: CALLS, sleepers, objects, ..Plan::default() };
    let mut load = Load::start(&fixture.load, &plan)?;
    let recorded = if of_processes { Some(memory::of(fixture, load.pid())?) } else { None };
    step.write32 = Some(write_cost(fixture, step, &mut load, rounds));
    load.finish()?;
    if let Some(recorded) = recorded {
        step.memory = Some(recorded.reported(&fixture.tracer)?);
    }
    Ok(())
}

/// Checks that this many sleeping processes have room.
pub(super) fn ensure_memory(processes: u32) -> Result<()> {
    let text = fs::read_to_string("/proc/meminfo").context("cannot read /proc/meminfo")?;
    let available =
        procfs::kilobytes(&text, "MemAvailable:").context("/proc/meminfo has no MemAvailable")?;
    let needed = u64::from(processes) * PROCESS_KB;
    ensure!(
        available > needed,
        "{processes} processes may need {needed} kB, and {available} kB are available"
    );
    Ok(())
}

/// Measures the cost of a write. The tree stays, and contenders attach to it in turn.
fn write_cost(fixture: &Fixture, step: &Step, load: &mut Load, rounds: u32) -> Comparison {
    let name = format!("write32 with {} {}", step.count, step.kind.name());
    let call = "write of 32 B to /dev/null";
    let mut comparison = Comparison::empty(name, call, Unit::Nanoseconds).among(&CONTENDERS);
    for _ in 0..rounds {
        comparison.round(|contender| turn(fixture, contender, load));
    }
    comparison.compute_figures();
    comparison
}

fn turn(fixture: &Fixture, contender: Contender, load: &mut Load) -> Result<Sample> {
    let attached: Attached = contender.attach(fixture, load.pid())?;
    let Repetitions { ns, truth, bytes_per_call } = Repetitions::of(load, REPETITIONS)?;
    let counted = attached.finish(load.pid())?;
    let count = Difference::between(&counted, &truth, u64::from(REPETITIONS));
    Ok(Sample { ns, bytes_per_call, count })
}

/// The ratio of a traced write's time at a step to that at the first step of its kind. Total times are compared, not
/// added times: steps are measured at different times, and one disturbed native write would change the ratio.
pub(crate) fn growth_of(steps: &[Step], kind: Kind, count: u32) -> Option<f64> {
    let taken = |count: u32| {
        let step = steps.iter().find(|step| step.kind == kind && step.count == count)?;
        Some(step.write32.as_ref()?.figures(Contender::Tracer)?.best)
    };
    figures::ratio(taken(count)?, taken(STEPS[0])?)
}

/// tracer's memory at a number of processes.
pub(crate) fn memory_at(steps: &[Step], count: u32) -> Option<&Memory> {
    let mut steps = steps.iter().filter(|step| step.kind == Kind::Processes);
    steps.find(|step| step.count == count)?.memory.as_ref()
}

/// The tables, in Markdown.
pub(crate) fn tables(steps: &[Step]) -> String {
    let mut cost = Table::new(&[
        "tree",
        "native ns",
        "floor ns",
        "tracer ns",
        "added ns",
        "relative to the first",
        "count",
    ]);
    let mut needs = Table::new(&[
        "processes",
        "RSS MB",
        "peak MB",
        "maps MB",
        "attached ms",
        "report s",
        "lost",
    ]);
    for step in steps {
        cost.add(cost_row(steps, step));
        if step.kind == Kind::Processes {
            needs.add(memory_row(step));
        }
    }
    format!("{}\n{}", cost.render(), needs.render())
}

fn cost_row(steps: &[Step], step: &Step) -> Vec<String> {
    let mut row = vec![format!("{} {}", whole(step.count.into()), step.kind.name())];
    for contender in CONTENDERS {
        let figures = step.write32.as_ref().and_then(|cost| cost.figures(contender));
        row.push(figures.map_or_else(|| "–".to_owned(), |figures| number(figures.best)));
    }
    let cost = step.write32.as_ref();
    let added = cost.and_then(|cost| cost.added(Contender::Tracer));
    row.push(added.map_or_else(|| "–".to_owned(), number));
    row.push(table::times(growth_of(steps, step.kind, step.count)));
    let tracer = cost.and_then(|cost| cost.row(Contender::Tracer));
    let absent = step.absent.as_ref().or_else(|| tracer?.absent.as_ref());
    row.push(match (absent, tracer) {
        (Some(reason), _) => format!("absent: {reason}"),
        (None, Some(tracer)) => tracer.count.to_string(),
        (None, None) => "–".to_owned(),
    });
    row
}

fn memory_row(step: &Step) -> Vec<String> {
    let mut row = vec![whole(step.count.into())];
    let Some(memory) = &step.memory else {
        row.extend(std::iter::repeat_n("–".to_owned(), 6));
        return row;
    };
    let live = &memory.live;
    row.extend([live.rss, live.peak, live.maps].map(|bytes| number(bytes as f64 / 1e6)));
    row.extend([number(live.attached_ms), number(memory.report_s), whole(live.losses)]);
    row
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cost::comparison::tests::comparison;

    fn step(kind: Kind, count: u32, ns: f64) -> Step {
        let cost = comparison("write32", &[(Contender::Native, 300.0), (Contender::Tracer, ns)]);
        Step { kind, count, write32: Some(cost), memory: None, absent: None }
    }

    #[test]
    fn growth_is_against_the_first_step_of_the_same_kind() {
        let steps = [
            step(Kind::Processes, 1, 400.0),
            step(Kind::Processes, 50_000, 450.0),
            step(Kind::Objects, 1, 500.0),
            step(Kind::Objects, 50_000, 500.0),
        ];
        assert_eq!(growth_of(&steps, Kind::Processes, 50_000), Some(1.125));
        assert_eq!(growth_of(&steps, Kind::Objects, 50_000), Some(1.0));
        assert_eq!(growth_of(&steps, Kind::Objects, 7), None);
    }

    #[test]
    fn a_step_that_was_not_possible_says_why() {
        let mut impossible = step(Kind::Processes, 50_000, 1.0);
        impossible.write32 = None;
        impossible.absent = Some("too little memory".into());
        let text = tables(&[step(Kind::Processes, 1, 400.0), impossible]);
        assert!(text.contains("absent: too little memory"), "{text}");
    }
}
