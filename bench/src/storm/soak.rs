//! The soak: repeats a mix of all storms and checks that tracer's memory does not grow.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use xtask::command::say;

use super::{
    accounts::Truth,
    judge::judge,
    plan::{Expect, SOAK},
    row::{Row, megabytes},
    trial::{Finished, Trial},
};
use crate::harness::{fixture::Fixture, procfs};

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
/// Bytes by which the maps may grow for each pipe. A closed pipe stays in its map, because no hook reports its end.
const MAP_PER_PIPE: u64 = 256;

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

/// Runs the soak for `minutes`.
pub(super) fn run(fixture: &Fixture, minutes: u64) -> Result<Row> {
    let time = Duration::from_secs(minutes * 60);
    let mut trial = Trial::start(fixture, ("mixed", PAUSE_MS), &[])?;
    let start = Instant::now();
    let (mut truth, mut warm, mut next_message) = (Truth::default(), None, PROGRESS_INTERVAL);
    let mut last;
    loop {
        truth += trial.run_storm()?;
        last = Sample::take(trial.tracer(), &truth)?;
        let elapsed = start.elapsed();
        if warm.is_none() && elapsed >= time / WARM_UP {
            warm = Some(last);
        }
        if elapsed >= next_message {
            say(&format!("{SOAK}: {} min, {last:?}", elapsed.as_secs() / 60));
            next_message += PROGRESS_INTERVAL;
        }
        if elapsed >= time {
            break;
        }
    }
    let warm = warm.context("the soak was too short")?;
    let Finished { counted, peak, time } = trial.finish()?;
    let outcome = judge(Expect::Exact, &truth, &counted)
        .and_then(|words| check_growth(&warm, &last).map(|()| words));
    let memory = format!(
        "{} → {} (the report: {}), maps {} → {}",
        megabytes(warm.rss),
        megabytes(last.rss),
        megabytes(peak),
        megabytes(warm.maps),
        megabytes(last.maps)
    );
    let description = format!("{minutes} minutes of all of these, in turn");
    Ok(Row { name: SOAK.to_owned(), description, truth, counted, outcome, memory, time })
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
    if maps > SLACK / 8 + MAP_PER_PIPE * pipes {
        return Err(format!("the maps grew by {maps} B for {pipes} pipes"));
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
        check_growth(&WARM, &Sample { maps: 10 << 20, pipes: 10_010, ..WARM }).unwrap();
    }
}
