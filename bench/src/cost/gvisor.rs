//! Measures what a trace session costs the guests of a gVisor sandbox, and how many messages a second tracer takes.

mod rate;
mod sandbox;
mod sink;

use std::process::Command;

use anyhow::{Context as _, Result};
use serde::Serialize;
use xtask::command::{self, say};

use self::sandbox::Sandbox;
use super::{
    QUICK_DIVISOR,
    comparison::{Comparison, Repetitions, Sample, contender::Contender, figures, workload::Unit},
    load::Plan,
};
use crate::harness::{
    fixture::Fixture,
    table::{Table, number, times},
};

/// Without a session, with a session that a program reads and discards, and with tracer.
const CONTENDERS: [Contender; 3] = [Contender::Native, Contender::Floor, Contender::Tracer];
/// Repetitions of a loop in a round. A sandbox takes a second to start.
const REPETITIONS: u32 = 10;

/// A loop in a sandbox.
#[derive(Clone, Copy, Debug)]
struct Work {
    name: &'static str,
    /// Its name in `load`.
    work: &'static str,
    calls: u64,
    /// Description of a call.
    call: &'static str,
    writers: u32,
    repetitions: u32,
}

const WRITE: Work = Work {
    name: "gvisor-write32",
    work: "write32",
    calls: 2_000,
    call: "a guest's write of 32 B to /dev/null",
    writers: 0,
    repetitions: REPETITIONS,
};

const PINGPONG: Work = Work {
    name: "gvisor-pingpong",
    work: "pingpong",
    calls: 500,
    call: "a guest's 32 B through a pipe to another guest, and back",
    ..WRITE
};

/// The results.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Gvisor {
    /// The version of `runsc`, and its platform.
    pub(crate) runsc: String,
    /// Time of guests' calls.
    pub(crate) costs: Vec<Comparison>,
    /// Writers at the same time, as many as they can, and the time of a write. In a quick run: none.
    pub(crate) rates: Vec<rate::Step>,
    /// The reason why there are no results.
    pub(crate) absent: Option<String>,
}

/// Measures all, or the cost of a write alone if the run is quick.
pub(crate) fn measure(fixture: &Fixture, rounds: u32, is_quick: bool) -> Gvisor {
    say("gvisor");
    let mut results = Gvisor::default();
    let runsc = version();
    match runsc.and_then(|version| Ok((version, sandbox::configuration(fixture)?))) {
        Ok((version, config)) => {
            results.runsc = version;
            let short = [Work { calls: WRITE.calls / QUICK_DIVISOR, ..WRITE }];
            let works: &[Work] = if is_quick { &short } else { &[WRITE, PINGPONG] };
            for work in works {
                results.costs.push(compared(fixture, &config, work, rounds));
            }
            if !is_quick {
                results.rates = rate::measure(fixture, &config, rounds);
            }
        }
        Err(error) => {
            say(&format!("gvisor is not measured: {error:#}"));
            results.absent = Some(format!("{error:#}"));
        }
    }
    results
}

fn version() -> Result<String> {
    let runsc = command::find("runsc").context("runsc is not installed")?;
    let output = command::capture(Command::new(runsc).arg("--version"))?;
    Ok(format!("{}, platform ptrace", output.lines().next().unwrap_or_default().trim()))
}

/// Measures a loop, in a new sandbox for each turn.
fn compared(fixture: &Fixture, config: &serde_json::Value, work: &Work, rounds: u32) -> Comparison {
    say(&format!("{}: {}", work.name, work.call));
    let empty = Comparison::empty(work.name.to_owned(), work.call, Unit::Nanoseconds);
    let mut comparison = empty.among(&CONTENDERS);
    for _ in 0..rounds {
        comparison.round(|contender| turn(fixture, config, work, contender));
    }
    comparison.compute_figures();
    comparison
}

fn turn(
    fixture: &Fixture,
    config: &serde_json::Value,
    work: &Work,
    contender: Contender,
) -> Result<Sample> {
    let Work { work: name, calls, writers, repetitions, .. } = *work;
    let plan = Plan { name, calls, writers, ..Plan::default() };
    let mut sandbox = Sandbox::start(fixture, config, contender, &plan)?;
    let Repetitions { ns, truth, bytes_per_call } = Repetitions::of(sandbox.load(), repetitions)?;
    let count = sandbox.finish(&truth, repetitions)?;
    Ok(Sample { ns, bytes_per_call, count })
}

impl Gvisor {
    /// Events that tracer missed and did not say.
    pub(crate) fn untold(&self) -> Option<f64> {
        let steps = self.rates.iter().map(|step| &step.write32);
        let rows = self.costs.iter().chain(steps).filter_map(|of| of.row(Contender::Tracer));
        let counts: Vec<_> = rows.map(|row| &row.count).filter(|count| count.counted).collect();
        let untold = counts.iter().filter(|count| count.losses.is_empty());
        let untold: u64 = untold.map(|count| count.missing.unsigned_abs()).sum();
        (!counts.is_empty()).then_some(untold as f64)
    }

    /// The time of a write with tracer, relative to that with a session that is discarded; `None` if not measured.
    pub(crate) fn beyond_floor(&self) -> Option<f64> {
        let write = self.costs.iter().find(|cost| cost.name == WRITE.name)?;
        let time = |contender| Some(write.figures(contender)?.best);
        figures::ratio(time(Contender::Tracer)?, time(Contender::Floor)?)
    }

    /// The tables, in Markdown.
    pub(crate) fn tables(&self) -> String {
        let mut table =
            Table::new(&["", "best ns", "median ns", "spread", "added ns", "× native", "count"]);
        for (cost, contender) in self.costs.iter().flat_map(|cost| CONTENDERS.map(|c| (cost, c))) {
            table.add(cells(cost, contender));
        }
        let mut text = format!("{}\n\n{}", self.runsc, table.render());
        if !self.rates.is_empty() {
            text += &format!("\n{}\n{}\n", rate::table(&self.rates), rate::sentence(&self.rates));
        }
        text
    }
}

fn cells(of: &Comparison, contender: Contender) -> Vec<String> {
    let row = of.row(contender);
    let mut cells =
        vec![format!("{}, {}", of.name.trim_start_matches("gvisor-"), shown(contender))];
    let absent = row.and_then(|row| row.absent.as_deref());
    let Some(figures) = of.figures(contender) else {
        cells.extend(std::iter::repeat_n("–".to_owned(), 5));
        cells.push(format!("absent: {}", absent.unwrap_or("not asked for")));
        return cells;
    };
    cells.extend([number(figures.best), number(figures.median)]);
    cells.push(format!("{:.0} %", figures.spread * 100.0));
    let is_native = contender == Contender::Native;
    let added = of.added(contender).filter(|_| !is_native);
    cells.push(added.map_or_else(|| "–".to_owned(), number));
    cells.push(times(of.time_ratio(contender, Contender::Native).filter(|_| !is_native)));
    let count = row.map(|row| row.count.to_string()).unwrap_or_default();
    cells.push(match absent {
        Some(reason) => format!("{count}; only {} rounds: {reason}", figures.rounds),
        None => count,
    });
    cells
}

/// The name of a contender in a sandbox.
fn shown(contender: Contender) -> &'static str {
    match contender {
        Contender::Native => "no session",
        Contender::Floor => "session, discarded",
        _ => "tracer",
    }
}

#[cfg(test)]
mod tests {
    use tracer_common::loss::Reason;

    use super::*;
    use crate::cost::comparison::{count::Difference, tests::comparison};

    fn results(missing: i64, has_loss: bool) -> Gvisor {
        let figures = [
            (Contender::Native, 30_000.0),
            (Contender::Floor, 40_000.0),
            (Contender::Tracer, 60_000.0),
        ];
        let mut cost = comparison("gvisor-write32", &figures);
        let losses = has_loss.then_some((Reason::RingFull.into(), 2)).into_iter().collect();
        let count = Difference { counted: true, missing, losses, ..Difference::default() };
        cost.add_sample(Contender::Tracer, 70_000.0, &count);
        Gvisor { costs: vec![cost], ..Gvisor::default() }
    }

    #[test]
    fn a_table_compares_with_the_sandbox_alone() {
        let text = results(0, false).tables();
        let row = text.lines().find(|line| line.contains("write32, tracer")).unwrap();
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        assert_eq!(cells[2..8], ["60,000", "65,000", "15 %", "30,000", "2.00 ×", "exact"]);
        assert_eq!(results(0, false).beyond_floor(), Some(1.5));
    }

    #[test]
    fn only_what_is_missing_without_a_word_is_untold() {
        assert_eq!(Gvisor::default().untold(), None);
        assert_eq!(results(0, false).untold(), Some(0.0));
        assert_eq!(results(3, true).untold(), Some(0.0));
        assert_eq!(results(3, false).untold(), Some(3.0));
        assert_eq!(results(-3, false).untold(), Some(3.0));
    }
}
