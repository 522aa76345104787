//! Courses: storms that are repeated under one tracer, whose memory must not grow.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use xtask::command::say;

use super::{
    accounts::Truth,
    judge::judge,
    plan::{self, Expect, SOAK},
    row::{Row, megabytes},
    trial::{Finished, Trial},
};
use crate::harness::{fixture::Fixture, procfs, table::whole};

/// Milliseconds of pause after each pass, in which other programs can run.
const PAUSE_MS: u64 = 2_000;
/// Memory is compared with its size after the first `1 / WARM_UP` of the time.
const WARM_UP: u32 = 10;
/// Interval of progress messages.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(300);
/// Bytes by which memory may grow in addition, because allocators keep free memory.
const SLACK: u64 = 4 << 20;
/// Bytes by which memory may grow for each process or pipe in the report. A process needs 2 kB, a pipe 1 kB.
const PER_ENTRY: u64 = 3 << 10;
/// Storms of the churn, and processes of each: memory after the first storm is compared with that after the last.
const CHURNS: u64 = 100;
const CHURN: u64 = 10_000;

/// tracer's memory in bytes, and what the storm has done so far.
#[derive(Clone, Copy, Debug)]
struct Sample {
    rss: u64,
    maps: u64,
    processes: u64,
    pipes: u64,
}

impl Sample {
    fn take(tracer: u32, truth: &Truth) -> Result<Self> {
        Ok(Self {
            rss: procfs::status(tracer, "VmRSS:").context("tracer has ended early")?,
            maps: procfs::map_memory(tracer)?,
            processes: truth.processes,
            pipes: truth.pipes,
        })
    }
}

/// Storms that are repeated under one tracer.
pub(super) struct Course {
    pub(super) name: &'static str,
    pub(super) description: String,
    /// The loop of `load`, and its size.
    work: (&'static str, u64),
    length: Length,
}

/// When a course is over.
#[derive(Clone, Copy)]
enum Length {
    Time(Duration),
    Storms(u64),
}

impl Course {
    /// A mix of all storms, for `minutes`.
    pub(super) fn soak(minutes: u64) -> Self {
        Self {
            name: SOAK,
            description: format!("{minutes} minutes of all of these, in turn"),
            work: ("mixed", PAUSE_MS),
            length: Length::Time(Duration::from_secs(minutes * 60)),
        }
    }

    /// A million short processes and as many pipes.
    pub(super) fn churn() -> Self {
        let jobs = CHURNS * CHURN;
        Self {
            name: plan::CHURN,
            description: format!(
                "{} short processes, each with a pipe, 200 at a time",
                whole(jobs)
            ),
            work: ("churn", CHURN),
            length: Length::Storms(CHURNS),
        }
    }

    /// Whether memory has its size from now on.
    fn is_warm(&self, storms: u64, elapsed: Duration) -> bool {
        match self.length {
            Length::Time(time) => elapsed >= time / WARM_UP,
            Length::Storms(_) => storms > 0,
        }
    }

    fn is_over(&self, storms: u64, elapsed: Duration) -> bool {
        match self.length {
            Length::Time(time) => elapsed >= time,
            Length::Storms(all) => storms >= all,
        }
    }

    /// Runs it.
    pub(super) fn run(self, fixture: &Fixture) -> Result<Row> {
        let mut trial = Trial::start(fixture, self.work, &[]).context(self.name)?;
        let start = Instant::now();
        let (mut truth, mut storms) = (Truth::default(), 0);
        let (mut warm, mut next_message) = (None, PROGRESS_INTERVAL);
        let mut last;
        loop {
            truth += trial.run_storm()?;
            storms += 1;
            last = Sample::take(trial.tracer(), &truth)?;
            let elapsed = start.elapsed();
            if warm.is_none() && self.is_warm(storms, elapsed) {
                warm = Some(last);
            }
            if elapsed >= next_message {
                say(&format!("{}: {} min, {last:?}", self.name, elapsed.as_secs() / 60));
                next_message += PROGRESS_INTERVAL;
            }
            if self.is_over(storms, elapsed) {
                break;
            }
        }
        let warm = warm.context("the course was too short")?;
        let Finished { counted, peak, time } = trial.finish()?;
        let outcome = judge(Expect::Exact, &truth, &counted)
            .and_then(|words| check_growth(&warm, &last).map(|()| words));
        let memory = memory(&warm, &last, peak);
        let Self { name, description, .. } = self;
        Ok(Row { name: name.to_owned(), description, truth, counted, outcome, memory, time })
    }
}

fn memory(warm: &Sample, last: &Sample, peak: u64) -> String {
    format!(
        "{} → {} (the report: {}), maps {} → {}",
        megabytes(warm.rss),
        megabytes(last.rss),
        megabytes(peak),
        megabytes(warm.maps),
        megabytes(last.maps)
    )
}

/// Fails if memory grew by more than the entries of the report need.
fn check_growth(warm: &Sample, last: &Sample) -> Result<(), String> {
    let (processes, pipes) = (last.processes - warm.processes, last.pipes - warm.pipes);
    let rss = last.rss.saturating_sub(warm.rss);
    let maps = last.maps.saturating_sub(warm.maps);
    if rss > SLACK + PER_ENTRY * (processes + pipes) {
        return Err(format!("RSS grew by {rss} B for {processes} processes and {pipes} pipes"));
    }
    // A map grows by whole pages per CPU.
    if maps > SLACK / 8 {
        return Err(format!(
            "the maps grew by {maps} B over {processes} processes and {pipes} pipes"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const WARM: Sample = Sample { rss: 20 << 20, maps: 8 << 20, processes: 100, pipes: 10 };

    #[test]
    fn memory_may_grow_with_what_is_listed() {
        check_growth(&WARM, &WARM).unwrap();
        check_growth(&WARM, &Sample { rss: 49 << 20, processes: 10_100, ..WARM }).unwrap();
        check_growth(&WARM, &Sample { rss: 49 << 20, ..WARM }).unwrap_err();
        check_growth(&WARM, &Sample { maps: 10 << 20, processes: 10_100, ..WARM }).unwrap_err();
        check_growth(&WARM, &Sample { maps: 10 << 20, pipes: 10_010, ..WARM }).unwrap_err();
    }
}
