//! From the start of a tracer to its word that it is attached, and to the first byte that it counted.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use super::{
    comparison::{contender::Contender, count::Counted, figures::Figures},
    load::{Load, Plan},
};
use crate::harness::{
    place::Place,
    table::{Table, number},
};

/// How fast one contender starts, in milliseconds.
#[derive(Debug, Serialize)]
pub(crate) struct Start {
    /// Who.
    pub(crate) contender: &'static str,
    /// Until it says that it is attached.
    pub(crate) attached_ms: Option<Figures>,
    /// Until the first byte that it counted was written.
    pub(crate) first_byte_ms: Option<Figures>,
    /// Why there is no figure.
    pub(crate) absent: Option<String>,
}

/// Who counts bytes or calls, so that the first one can be found.
const COUNTING: [Contender; 4] =
    [Contender::Tracer, Contender::Capture, Contender::Bpftrace, Contender::PerfTrace];
/// Bytes are written on for so long after the word.
const AFTER: Duration = Duration::from_millis(50);

/// What the loop `ticker` says: when each byte was written.
#[derive(Deserialize)]
struct Ticks {
    ticks: Vec<u64>,
}

/// Starts each contender in turn.
pub(crate) fn measure(place: &Place, rounds: u32) -> Vec<Start> {
    let mut samples: Vec<_> = COUNTING
        .map(|contender| (contender, Vec::new(), Vec::new(), contender.absence()))
        .into_iter()
        .collect();
    for _ in 0..rounds {
        for (contender, attached, first, absent) in &mut samples {
            if absent.is_some() {
                continue;
            }
            match once(place, *contender) {
                Ok((said, counted)) => {
                    attached.push(said);
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

/// Milliseconds until attached, and until the first byte that was counted.
fn once(place: &Place, contender: Contender) -> Result<(f64, f64)> {
    let plan = Plan { name: "ticker", calls: 0, sleepers: 0, objects: 0, command: &[] };
    let mut ticker = Load::start(&place.load, &plan)?;
    let pid = ticker.pid();
    ticker.open_gate()?;
    let start = now();
    let attached = contender.attach(place, pid)?;
    let said = now();
    std::thread::sleep(AFTER);
    let Ticks { ticks } = ticker.finish_with()?;
    // The last line of the ticker is a call as well, but it moves no byte through fd 1.
    let counted = match attached.finish(pid)? {
        Counted::Tracer(counts) => counts.writes,
        Counted::Bytes(bytes) => bytes,
        Counted::Calls(calls) => calls.saturating_sub(1),
        Counted::Nothing => bail!("{} counts nothing", contender.name()),
    };
    let first = first_counted(&ticks, counted)?;
    Ok((millis(start, said), millis(start, first)))
}

/// When the first byte was written that was counted: all that came after it were.
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

/// As a table.
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
