//! Jobs beside many sleepers, and many pipes of one process.

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::Result;
use tracer_tests::jobs::{Manager, Request};

use super::{Extent, Figure, bed::Place};
use crate::{cost::load::Plan, harness::fixture::Fixture};

/// Sleeping processes, which share one log.
const SLEEPERS: u32 = 1_500;
/// Pipes without a pause, and the pause: the limit of tables is looked for, not that of the ring of events.
const PIPES_AT_ONCE: u64 = 1_000;
const PAUSE: Duration = Duration::from_millis(100);
/// Jobs each second.
const RATE: u64 = 40;

/// What part of a processor 40 jobs a second take, without neighbours and beside sleepers that share a log.
pub(super) fn measure(fixture: &Fixture, extent: Extent) -> Result<Vec<Figure>> {
    let (alone, _) = part_of_core(fixture, extent, 0)?;
    let (beside, idle) = part_of_core(fixture, extent, SLEEPERS)?;
    let unit = " % of a core";
    Ok(vec![
        Figure::of("40 jobs/s", alone * 100.0, unit).before("4 %"),
        Figure::of("40 jobs/s beside 1,500 sleepers with a shared log", beside * 100.0, unit)
            .at_most(2.0)
            .before("44 %"),
        Figure::of("the sleepers alone", idle * 100.0, unit),
    ])
}

/// With jobs, and without.
fn part_of_core(fixture: &Fixture, extent: Extent, sleepers: u32) -> Result<(f64, f64)> {
    let place = Place::new()?;
    let recording = place.record()?;
    let log = fixture.new_directory()?;
    let plan = Plan { name: "getppid", calls: 1, sleepers, ..Plan::default() };
    let load = place.load_with_log(fixture, &plan, &log.path().join("log"))?;
    let mut manager = Manager::start(&fixture.jobs, place.path())?;
    manager.ask(Request::Plain { jobs: RATE, rate: RATE })?;
    recording.settle()?;
    let idle = recording.idle(5)?;
    let (start, before) = (Instant::now(), recording.cpu()?);
    manager.ask(Request::Plain { jobs: RATE * extent.seconds, rate: RATE })?;
    let busy = (recording.cpu()? - before) / start.elapsed().as_secs_f64();
    manager.end()?;
    load.finish()?;
    recording.stop()?;
    Ok((busy, idle))
}

/// Pipes one after another in one living process: events that the recorder missed, and time of each.
pub(super) fn pipes(fixture: &Fixture, extent: Extent) -> Result<Vec<Figure>> {
    let place = Place::new()?;
    let plan = Plan { name: "successive", calls: PIPES_AT_ONCE, ..Plan::default() };
    let mut load = place.load(fixture, &plan)?;
    let native = load.measure()?.ns_per_call();
    let recording = place.record()?;
    let mut recorded = f64::INFINITY;
    for _ in 0..extent.pipes / PIPES_AT_ONCE {
        recorded = recorded.min(load.measure()?.ns_per_call());
        sleep(PAUSE);
    }
    recording.settle()?;
    load.finish()?;
    recording.settle()?;
    let (_, missed) = recording.stop()?;
    Ok(vec![
        Figure::of(
            format!("events lost over {} pipes of one process", extent.pipes),
            missed as f64,
            "",
        )
        .at_most(0.0)
        .before("54,460"),
        Figure::of(
            "a pipe, a write, a read and its end, relative to native",
            recorded / native,
            " ×",
        ),
    ])
}
