//! How cost and memory grow with processes and with watched objects.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;
use xtask::command::say;

use super::{
    comparison::{
        Comparison, Sample, Takes,
        contender::{Attached, Contender},
        count::Difference,
        figures,
        workload::Unit,
    },
    load::{Load, Plan},
    memory::{self, Memory},
};
use crate::harness::{
    place::{PidMax, Place},
    procfs,
    table::{self, Table, number, whole},
};

/// Steps of both kinds of growth.
const STEPS: [u32; 3] = [1, 1_000, 50_000];
const CONTENDERS: [Contender; 3] = [Contender::Native, Contender::Floor, Contender::Tracer];
const CALLS: u64 = 100_000;
/// Attaching to the largest tree takes seconds, and a take milliseconds.
const TAKES: u32 = 15;
/// What a sleeping process costs the kernel, generously.
const PROCESS_KB: u64 = 150;

/// What grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// Sleeping processes in the tree.
    Processes,
    /// Pipes that the tree has written to and holds open.
    Objects,
}

/// One step.
#[derive(Debug, Serialize)]
pub(crate) struct Step {
    /// What grows.
    pub(crate) kind: Kind,
    /// How many.
    pub(crate) count: u32,
    /// The cost of a write; [`None`] where the step was not possible.
    pub(crate) write32: Option<Comparison>,
    /// Memory, for processes.
    pub(crate) memory: Option<Memory>,
    /// Why something is missing.
    pub(crate) absent: Option<String>,
}

/// All steps of both kinds.
pub(crate) fn measure(place: &Place, rounds: u32) -> Vec<Step> {
    let kinds = [Kind::Processes, Kind::Objects];
    let steps = kinds.into_iter().flat_map(|kind| STEPS.map(|count| (kind, count)));
    steps.map(|(kind, count)| step(place, kind, count, rounds)).collect()
}

fn step(place: &Place, kind: Kind, count: u32, rounds: u32) -> Step {
    let mut step = Step { kind, count, write32: None, memory: None, absent: None };
    say(&format!("growth: {count} {}", kind.name()));
    if let Err(error) = fill(place, &mut step, rounds) {
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

fn fill(place: &Place, step: &mut Step, rounds: u32) -> Result<()> {
    let of_processes = step.kind == Kind::Processes;
    // The loop itself is the first of the processes.
    let sleepers = if of_processes { step.count - 1 } else { 0 };
    let _pids = if sleepers > 0 { Some(PidMax::at_least(sleepers)?) } else { None };
    ensure_memory(sleepers)?;
    let objects = if of_processes { 0 } else { u64::from(step.count) };
    let plan = Plan { name: "write32", calls: CALLS, sleepers, objects, command: &[] };
    let mut load = Load::start(&place.load, &plan)?;
    let recorded = if of_processes { Some(memory::of(place, load.pid())?) } else { None };
    step.write32 = Some(growth(place, step, &mut load, rounds));
    load.finish()?;
    if let Some(recorded) = recorded {
        step.memory = Some(recorded.reported(&place.tracer)?);
    }
    Ok(())
}

fn ensure_memory(processes: u32) -> Result<()> {
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

/// Rounds in which the tree stays and the contenders come and go.
fn growth(place: &Place, step: &Step, load: &mut Load, rounds: u32) -> Comparison {
    let name = format!("write32 with {} {}", step.count, step.kind.name());
    let call = "write of 32 B to /dev/null";
    let mut growth = Comparison::empty(name, call, Unit::Nanoseconds).among(&CONTENDERS);
    for _ in 0..rounds {
        growth.round(|contender| turn(place, contender, load));
    }
    growth.sum_up();
    growth
}

fn turn(place: &Place, contender: Contender, load: &mut Load) -> Result<Sample> {
    let attached: Attached = contender.attach(place, load.pid())?;
    let Takes { ns, truth, bytes_per_call } = Takes::of(load, TAKES)?;
    let counted = attached.finish(load.pid())?;
    let count = Difference::between(&counted, &truth, u64::from(TAKES));
    Ok(Sample { ns, bytes_per_call, count })
}

/// What a traced write takes at one step against the first step of its kind. Not what is added: each step is
/// measured at another time, and native writes that were disturbed at one of them would make all the difference.
pub(crate) fn growth_of(steps: &[Step], kind: Kind, count: u32) -> Option<f64> {
    let taken = |count: u32| {
        let step = steps.iter().find(|step| step.kind == kind && step.count == count)?;
        Some(step.write32.as_ref()?.figures(Contender::Tracer)?.best)
    };
    figures::ratio(taken(count)?, taken(STEPS[0])?)
}

/// The memory at a number of processes.
pub(crate) fn memory_at(steps: &[Step], count: u32) -> Option<&Memory> {
    let mut steps = steps.iter().filter(|step| step.kind == Kind::Processes);
    steps.find(|step| step.count == count)?.memory.as_ref()
}

/// As tables.
pub(crate) fn tables(steps: &[Step]) -> String {
    let mut cost = Table::new(&[
        "tree",
        "native ns",
        "floor ns",
        "tracer ns",
        "added ns",
        "against the first",
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
