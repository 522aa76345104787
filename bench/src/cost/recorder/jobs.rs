//! Short jobs: a program with two pipes, which a manager outside the cgroup reads.

use std::time::Instant;

use anyhow::Result;
use tracer_tests::{
    jobs::{Manager, Request},
    recorder_storm::resident,
};

use super::{Extent, Figure, bed::Place};
use crate::{
    cost::load::{Load, Plan},
    harness::fixture::Fixture,
};

/// Jobs each second.
const RATE: u64 = 300;
/// Memory is compared with its size after the first of this many parts of the jobs.
const WARM_UP: u64 = 20;
/// Seconds in which the idle recorder is looked at.
const IDLE: u64 = 5;
/// Calls of a stranger's loop, and how often it is repeated.
const CALLS: u64 = 40_000;
const REPETITIONS: u32 = 60;

/// Processor time, memory and disk for each job, and a stranger's read before and after them.
pub(super) fn measure(fixture: &Fixture, extent: Extent) -> Result<Vec<Figure>> {
    let place = Place::new()?;
    let recording = place.record()?;
    let mut manager = Manager::start(&fixture.jobs, place.path())?;
    manager.ask(Request::Plain { jobs: 1, rate: 0 })?;
    recording.settle()?;
    let stranger_first = stranger(fixture)?;
    manager.ask(Request::Plain { jobs: extent.jobs / WARM_UP, rate: RATE })?;
    recording.settle()?;
    let rss_first = resident(recording.pid())?;
    let idle = recording.idle(IDLE)?;
    let jobs = extent.jobs - extent.jobs / WARM_UP;
    let (start, before) = (Instant::now(), recording.cpu()?);
    manager.ask(Request::Plain { jobs, rate: RATE })?;
    recording.settle()?;
    let busy = recording.cpu()? - before - idle * start.elapsed().as_secs_f64();
    let rss = resident(recording.pid())?;
    let stranger_last = stranger(fixture)?;
    manager.end()?;
    let (bytes, missed) = recording.stop()?;
    let measured = Measured {
        us_per_job: busy * 1e6 / jobs as f64,
        idle,
        stranger: stranger_last / stranger_first,
        growth: rss as f64 / rss_first as f64,
        rss: rss as f64,
        disk: bytes as f64 / extent.jobs as f64,
        missed: missed as f64,
    };
    Ok(figures(&measured, extent))
}

/// What a run shows.
struct Measured {
    /// Processor time for a job, in µs.
    us_per_job: f64,
    /// Processor time without jobs, as a part of a core.
    idle: f64,
    /// A stranger's read after all jobs, relative to one before them.
    stranger: f64,
    /// Memory after all jobs, relative to that after the first of them.
    growth: f64,
    /// Memory after all jobs, in bytes.
    rss: f64,
    /// Bytes of the history for a job.
    disk: f64,
    /// Events that were not seen.
    missed: f64,
}

fn figures(measured: &Measured, extent: Extent) -> Vec<Figure> {
    let Measured { us_per_job, idle, stranger, growth, rss, disk, missed } = *measured;
    vec![
        Figure::of("processor time for a short job", us_per_job, " µs")
            .at_most(150.0)
            .before("660 to 970 µs"),
        Figure::of("processor time with nothing to do", idle * 100.0, " % of a core"),
        Figure::of(
            format!("a stranger's read after {} jobs, relative to after one", extent.jobs),
            stranger,
            " ×",
        )
        .at_most(1.02)
        .before("1.58 × (15,000 jobs)"),
        Figure::of(
            format!(
                "memory after {} jobs, relative to after {}",
                extent.jobs,
                extent.jobs / WARM_UP
            ),
            growth,
            " ×",
        )
        .at_most(1.01)
        .before("5.5 kB more for each"),
        Figure::of(format!("memory after {} jobs", extent.jobs), rss / 1e6, " MB")
            .at_most(64.0)
            .before("55 GB after 10⁷"),
        Figure::of("disk for 1,000,000 jobs without a finding", disk, " MB")
            .at_most(350.0)
            .before("4,300 to 5,200 MB"),
        Figure::of("events of these jobs that were not seen", missed, "").at_most(0.0),
    ]
}

/// Nanoseconds of a read by a process that is not recorded, the fastest of many.
fn stranger(fixture: &Fixture) -> Result<f64> {
    let mut load =
        Load::start(&fixture.load, &Plan { name: "read32", calls: CALLS, ..Plan::default() })?;
    let mut best = f64::INFINITY;
    for _ in 0..REPETITIONS {
        best = best.min(load.measure()?.ns_per_call());
    }
    load.finish()?;
    Ok(best)
}
