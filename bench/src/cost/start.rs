//! Measures the time from a tracer's start to its message "attached", and to the first byte that it counts.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use super::{
    comparison::{contender::Contender, count::Counted, figures::Figures},
    load::{Load, Plan},
};
use crate::harness::{
    fixture::Fixture,
    table::{Table, number},
};

/// The start times of a contender, in milliseconds.
#[derive(Debug, Serialize)]
pub(crate) struct Start {
    /// The contender's name.
    pub(crate) contender: &'static str,
    /// To the message "attached".
    pub(crate) attached_ms: Option<Figures>,
    /// To the write of the first byte that it counted.
    pub(crate) first_byte_ms: Option<Figures>,
    /// The reason why a figure is missing.
    pub(crate) absent: Option<String>,
}

/// Contenders that count bytes or calls, from which the first counted one follows.
const COUNTING: [Contender; 4] =
    [Contender::Tracer, Contender::Capture, Contender::Bpftrace, Contender::PerfTrace];
/// How long the loop continues to write after the message.
const AFTER: Duration = Duration::from_millis(50);

/// Output of the loop `ticker`: the time of each byte in nanoseconds.
#[derive(Deserialize)]
struct Ticks {
    ticks: Vec<u64>,
}

/// Starts each contender in each round.
pub(crate) fn measure(fixture: &Fixture, rounds: u32) -> Vec<Start> {
    let mut samples: Vec<_> = COUNTING
        .map(|contender| (contender, Vec::new(), Vec::new(), contender.absence()))
        .into_iter()
        .collect();
    for _ in 0..rounds {
        for (contender, attached, first, absent) in &mut samples {
            if absent.is_some() {
                continue;
            }
            match once(fixture, *contender) {
                Ok((ready, counted)) => {
                    attached.push(ready);
                    first.push(counted);
                }
                Err(error) => *absent = Some(format!("{error:#}")),
            }
        }
    }
    samples
        .into_iter()
        .map(|(contender, attached, first, absent)| Start {
            contender: contender.name(),
            attached_ms: Figures::of(&attached),
            first_byte_ms: Figures::of(&first),
            absent,
        })
        .collect()
}

/// Milliseconds to the message "attached", and to the first counted byte.
fn once(fixture: &Fixture, contender: Contender) -> Result<(f64, f64)> {
    let plan = Plan { name: "ticker", ..Plan::default() };
    let mut ticker = Load::start(&fixture.load, &plan)?;
    let pid = ticker.pid();
    ticker.open_gate()?;
    let start = now();
    let attached = contender.attach(fixture, pid)?;
    let ready = now();
    std::thread::sleep(AFTER);
    let Ticks { ticks } = ticker.finish_with()?;
    // The loop's last line is a write too, but not to stdout.
    let counted = match attached.finish(pid)? {
        Counted::Tracer(counts) => counts.writes,
        Counted::Bytes(bytes) => bytes,
        Counted::Calls(calls) => calls.saturating_sub(1),
        Counted::Nothing => bail!("{} counts nothing", contender.name()),
    };
    let first = first_counted(&ticks, counted)?;
    Ok((millis(start, ready), millis(start, first)))
}

/// The time of the first counted byte. All bytes after it were counted.
fn first_counted(ticks: &[u64], counted: u64) -> Result<u64> {
    let missed = (ticks.len() as u64)
        .checked_sub(counted)
        .with_context(|| format!("{counted} bytes were counted, {} written", ticks.len()))?;
    ticks.get(usize::try_from(missed)?).copied().context("no byte was counted")
}

fn now() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs()
}

fn millis(from: u64, to: u64) -> f64 {
    to.saturating_sub(from) as f64 / 1e6
}

/// The table, in Markdown.
pub(crate) fn table(starts: &[Start]) -> String {
    let mut table =
        Table::new(&["", "attached, median ms", "best", "first byte, median ms", "best", "note"]);
    for start in starts {
        let mut row = vec![start.contender.to_owned()];
        for figures in [&start.attached_ms, &start.first_byte_ms] {
            let shown =
                |of: fn(&Figures) -> f64| figures.as_ref().map_or("–".into(), |f| number(of(f)));
            row.extend([shown(|f| f.median), shown(|f| f.best)]);
        }
        row.push(start.absent.as_ref().map_or(String::new(), |why| format!("absent: {why}")));
        table.add(row);
    }
    table.render()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_counted_byte_is_found_from_the_end() {
        let ticks = [10, 20, 30, 40];
        assert_eq!(first_counted(&ticks, 4).unwrap(), 10);
        assert_eq!(first_counted(&ticks, 1).unwrap(), 40);
        assert!(first_counted(&ticks, 0).is_err());
        assert!(first_counted(&ticks, 5).is_err());
    }

    #[test]
    fn times_are_in_milliseconds() {
        assert_eq!(millis(1_000_000, 151_000_000), 150.0);
    }
}
