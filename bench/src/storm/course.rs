//! Courses: storms that are repeated under one tracer, whose memory must not grow.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use tracer_tests::tables::{Entries, Tables};
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

/// For so long the tables must not change before their entries are counted, and so long that may take.
const REST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(30);
/// Entries by which a table may grow: read ends that a process with several threads has just closed.
const LATE: u64 = 64;

/// tracer's memory in bytes, and what the storm has done so far.
#[derive(Clone, Debug)]
struct Sample {
    rss: u64,
    maps: u64,
    /// Entries of each table in the kernel; of a filter, the sum of its counters.
    tables: Entries,
    processes: u64,
    pipes: u64,
}

impl Sample {
    fn take(tracer: u32, truth: &Truth) -> Result<Self> {
        Ok(Self {
            rss: procfs::status(tracer, "VmRSS:").context("tracer has ended early")?,
            maps: procfs::map_memory(tracer)?,
            tables: at_rest(&Tables::of(tracer)?)?,
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
        while !self.is_over(storms, start.elapsed()) {
            truth += trial.run_storm()?;
            storms += 1;
            let elapsed = start.elapsed();
            if warm.is_none() && self.is_warm(storms, elapsed) {
                warm = Some(Sample::take(trial.tracer(), &truth)?);
            }
            if elapsed >= next_message {
                let now = Sample::take(trial.tracer(), &truth)?;
                say(&format!("{}: {} min, {now:?}", self.name, elapsed.as_secs() / 60));
                next_message += PROGRESS_INTERVAL;
            }
        }
        let last = Sample::take(trial.tracer(), &truth)?;
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
    for (name, entries) in &last.tables {
        let before = warm.tables.get(name).copied().unwrap_or_default();
        if *entries > before + LATE {
            return Err(format!("the table {name} grew from {before} to {entries} entries"));
        }
    }
    Ok(())
}

/// The entries of the tables when they do not change any more.
fn at_rest(tables: &Tables) -> Result<Entries> {
    let (mut known, began, mut since) = (tables.entries()?, Instant::now(), Instant::now());
    while since.elapsed() < REST && began.elapsed() < LONGEST {
        thread::sleep(REST / 10);
        let now = tables.entries()?;
        if now != known {
            (known, since) = (now, Instant::now());
        }
    }
    Ok(known)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WARM: Sample =
        Sample { rss: 20 << 20, maps: 8 << 20, tables: Entries::new(), processes: 100, pipes: 10 };

    #[test]
    fn memory_may_grow_with_what_is_listed() {
        check_growth(&WARM, &WARM).unwrap();
        check_growth(&WARM, &Sample { rss: 49 << 20, processes: 10_100, ..WARM }).unwrap();
        check_growth(&WARM, &Sample { rss: 49 << 20, ..WARM }).unwrap_err();
        check_growth(&WARM, &Sample { maps: 10 << 20, processes: 10_100, ..WARM }).unwrap_err();
        check_growth(&WARM, &Sample { maps: 10 << 20, pipes: 10_010, ..WARM }).unwrap_err();
    }

    #[test]
    fn tables_end_as_they_were() {
        let with = |entries| Sample { tables: Entries::from([("TGID_FILTER", entries)]), ..WARM };
        check_growth(&with(5), &with(5 + LATE)).unwrap();
        let grown = check_growth(&with(5), &with(6 + LATE)).unwrap_err();
        assert_eq!(grown, "the table TGID_FILTER grew from 5 to 70 entries");
    }
}
