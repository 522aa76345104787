//! Measures whether the view of `tracer top` slows a trace down: the same trace without and with it, in turns.

mod trace;

use anyhow::Result;
use serde::Serialize;
use xtask::command::say;

use self::trace::{Threads, Trace};
use super::{
    comparison::{count::Difference, figures::Figures},
    growth::ensure_memory,
    load::{Load, Plan, Truth},
};
use crate::harness::{
    fixture::{Fixture, PidMax},
    table::{Table, number, whole},
};

/// Numbers of processes, and seconds of a round. A view of 50,000 processes has a frame every ten seconds or more.
const STEPS: [(u32, f64); 2] = [(1, 5.0), (50_000, 40.0)];
/// Writes of a repetition.
const CALLS: u64 = 100_000;
/// Processes that are started one after the other, in the same trace.
const STARTED: u64 = 500;

/// The results of a trace, without or with the view.
#[derive(Debug, Serialize)]
pub(crate) struct View {
    /// Sleeping processes in the tree, and the loop.
    pub(crate) processes: u32,
    /// Whether the view was open.
    pub(crate) is_open: bool,
    /// Nanoseconds of a write: the fastest repetition of each round.
    pub(crate) best: Vec<f64>,
    /// The average of each round.
    pub(crate) average: Vec<f64>,
    /// Frames.
    pub(crate) frames: u64,
    /// Seconds in which they were drawn.
    pub(crate) seconds: f64,
    /// Processor time of tracer in these seconds.
    pub(crate) threads: Threads,
    /// Differences of the counts, summed over all rounds.
    pub(crate) count: Difference,
    /// The reason why a result is missing.
    pub(crate) absent: Option<String>,
}

/// Measures all steps.
pub(crate) fn measure(fixture: &Fixture, rounds: u32) -> Vec<View> {
    let steps = STEPS.map(|(processes, seconds)| {
        say(&format!("view: {processes} processes"));
        let mut views = [false, true].map(|is_open| View::new(processes, is_open));
        if let Err(error) = step(fixture, &mut views, rounds, seconds) {
            views.iter_mut().for_each(|view| view.absent = Some(format!("{error:#}")));
        }
        views
    });
    steps.into_iter().flatten().collect()
}

/// The tree stays, and traces attach to it in turns.
fn step(fixture: &Fixture, views: &mut [View; 2], rounds: u32, seconds: f64) -> Result<()> {
    let sleepers = views[0].processes - 1;
    let _pids = if sleepers > 0 { Some(PidMax::at_least(sleepers)?) } else { None };
    ensure_memory(sleepers)?;
    let plan = Plan { name: "write32", calls: CALLS, sleepers, ..Plan::default() };
    let mut load = Load::start(&fixture.load, &plan)?;
    let command = ["/bin/true".to_owned()];
    let plan = Plan { name: "exec", calls: STARTED, command: &command, ..Plan::default() };
    let mut starter = Load::start(&fixture.load, &plan)?;
    for _ in 0..rounds {
        for view in &mut *views {
            view.round(fixture, seconds, [&mut load, &mut starter])?;
        }
    }
    load.finish()?;
    starter.finish()
}

impl View {
    fn new(processes: u32, is_open: bool) -> Self {
        Self {
            processes,
            is_open,
            best: Vec::new(),
            average: Vec::new(),
            frames: 0,
            seconds: 0.0,
            threads: Threads::default(),
            count: Difference::default(),
            absent: None,
        }
    }

    fn round(&mut self, fixture: &Fixture, seconds: f64, loads: [&mut Load; 2]) -> Result<()> {
        let [load, starter] = loads;
        let targets = [load.pid(), starter.pid()];
        let trace = Trace::start(fixture, &targets, self.is_open)?;
        let (mut truth, mut best, mut sums) = (Truth::default(), f64::INFINITY, (0, 0));
        let window = trace.window()?;
        while window.seconds() < seconds {
            let measured = load.measure()?;
            best = best.min(measured.ns_per_call());
            sums = (sums.0 + measured.ns, sums.1 + measured.calls);
            truth += measured.truth;
        }
        self.seconds += window.seconds();
        let (frames, threads) = window.end()?;
        self.frames += frames;
        self.threads += threads;
        self.best.push(best);
        self.average.push(sums.0 as f64 / sums.1.max(1) as f64);
        // Records of processes go through the ring, which the view must not keep tracer from reading.
        let started = starter.measure()?.truth;
        truth += started;
        // The sleepers are children of the other loop.
        truth.standing = 0;
        let counted = trace.finish(targets[1])?;
        self.count.add(&Difference::between(&counted, &truth, 0));
        Ok(())
    }

    /// Processor time of a second, in milliseconds.
    fn load_of(&self, ns: u64) -> String {
        number(ns as f64 / 1e6 / self.seconds)
    }
}

/// The table, in Markdown.
pub(crate) fn table(views: &[View]) -> String {
    let mut table = Table::new(&[
        "processes",
        "view",
        "best ns",
        "average ns",
        "frames",
        "in s",
        "trace ms/s",
        "judge ms/s",
        "draw ms/s",
        "helpers ms/s",
        "count",
    ]);
    for view in views {
        let name = if view.is_open { "open" } else { "none" };
        let mut row = vec![whole(view.processes.into()), name.to_owned()];
        if let Some(reason) = &view.absent {
            row.extend(std::iter::repeat_n("–".to_owned(), 8));
            row.push(format!("absent: {reason}"));
        } else {
            let shown = |of: Option<f64>| of.map_or("–".to_owned(), number);
            row.push(shown(Figures::of(&view.best).map(|figures| figures.best)));
            row.push(shown(Figures::of(&view.average).map(|figures| figures.median)));
            row.push(if view.is_open { whole(view.frames) } else { "–".to_owned() });
            row.push(number(view.seconds));
            let Threads { trace, judge, draw, helpers } = view.threads;
            row.extend([trace, judge, draw, helpers].map(|ns| view.load_of(ns)));
            row.push(view.count.to_string());
        }
        table.add(row);
    }
    table.render()
}
