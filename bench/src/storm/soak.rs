//! The long one: a bit of every storm, again and again, while tracer's memory is looked at.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use xtask::command::say;

use super::{
    accounts::Truth,
    judge::judge,
    plan::{Expect, SOAK},
    row::{Row, megabytes},
    trial::{Ended, Trial},
};
use crate::harness::{place::Place, procfs};

/// Milliseconds of rest after each pass: the machine is for others as well.
const REST: u64 = 2_000;
/// The part of the time after which memory is looked at first.
const WARM: u32 = 10;
/// How often a line says that it goes on.
const NEWS: Duration = Duration::from_secs(300);
/// What memory may grow by besides what the report lists: allocators keep a little.
const SLACK: u64 = 4 << 20;
/// What a process or pipe may cost that the report will list. A process takes 2 kB, a pipe half of it.
const PER_ENTRY: u64 = 3 << 10;
/// What the maps may grow by for a pipe that is gone: it stays under watch, as nobody tells of its end.
const MAP_PER_PIPE: u64 = 256;

/// tracer's memory at one moment.
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

/// Soaks for so many minutes.
pub(super) fn run(place: &Place, minutes: u64) -> Result<Row> {
    let time = Duration::from_secs(minutes * 60);
    let mut trial = Trial::start(place, ("mixed", REST), &[])?;
    let start = Instant::now();
    let (mut truth, mut warm, mut news) = (Truth::default(), None, NEWS);
    let mut last;
    loop {
        truth += trial.rage()?;
        last = Sample::take(trial.tracer(), &truth)?;
        let elapsed = start.elapsed();
        if warm.is_none() && elapsed >= time / WARM {
            warm = Some(last);
        }
        if elapsed >= news {
            say(&format!("{SOAK}: {} min, {last:?}", elapsed.as_secs() / 60));
            news += NEWS;
        }
        if elapsed >= time {
            break;
        }
    }
    let warm = warm.context("the soak was too short")?;
    let Ended { counted, peak, time } = trial.finish()?;
    let outcome =
        judge(Expect::Exact, &truth, &counted).and_then(|words| flat(&warm, &last).map(|()| words));
    let memory = format!(
        "{} → {} (the report: {}), maps {} → {}",
        megabytes(warm.rss),
        megabytes(last.rss),
        megabytes(peak),
        megabytes(warm.maps),
        megabytes(last.maps)
    );
    let what = format!("{minutes} minutes of all of these, in turn");
    Ok(Row { name: SOAK.to_owned(), what, truth, counted, outcome, memory, time })
}

/// Memory grows with what the report will list, and with nothing else.
fn flat(warm: &Sample, last: &Sample) -> Result<(), String> {
    let (processes, pipes) = (last.processes - warm.processes, last.pipes - warm.pipes);
    let rss = last.rss.saturating_sub(warm.rss);
    let maps = last.maps.saturating_sub(warm.maps);
    if rss > SLACK + PER_ENTRY * (processes + pipes) {
        return Err(format!("RSS grew by {rss} B for {processes} processes and {pipes} pipes"));
    }
    // A map grows by whole pages of each CPU's cache.
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
        flat(&WARM, &WARM).unwrap();
        flat(&WARM, &Sample { rss: 49 << 20, processes: 10_100, ..WARM }).unwrap();
        flat(&WARM, &Sample { rss: 49 << 20, ..WARM }).unwrap_err();
        flat(&WARM, &Sample { maps: 10 << 20, processes: 10_100, ..WARM }).unwrap_err();
        flat(&WARM, &Sample { maps: 10 << 20, pipes: 10_010, ..WARM }).unwrap();
    }
}
