//! What the recorder could not record, with the time in which that happened.

use std::collections::{BTreeMap, VecDeque};

use tracer_common::loss::{LossCell, Reason};
use tracer_core::{
    recording::Loss,
    session::{LossReason, Session},
};
use tracer_history::Gap;
use tracer_loader::{Loader, boot_ns};

use super::entry::Clock;

/// How many losses are kept, each with its time. Jobs that began before the oldest of them get all of them.
const MOST_KEPT: usize = 1_024;

/// A loss between two looks.
#[derive(Clone, Debug)]
struct LossSpan {
    /// Nanoseconds since boot.
    until_ns: u64,
    reason: LossReason,
    cell: LossCell,
}

/// All losses so far, and when the latest of them happened.
#[derive(Debug, Default)]
pub(super) struct Losses {
    totals: BTreeMap<LossReason, LossCell>,
    latest: VecDeque<LossSpan>,
    /// When this looked last, nanoseconds since boot.
    looked_ns: u64,
}

impl Losses {
    /// The losses since the last look, as gaps of the history.
    pub(super) fn new_gaps(
        &mut self,
        loader: &mut Loader,
        session: &Session,
        clock: &Clock,
    ) -> Vec<Gap> {
        let of_kernel = match loader.losses() {
            Ok(losses) => losses,
            Err(error) => {
                tracing::warn!("{error}");
                return Vec::new();
            }
        };
        let mut totals = session.losses.clone();
        for (reason, cell) in of_kernel {
            let total = totals.entry(reason.into()).or_default();
            total.events += cell.events;
            total.bytes += cell.bytes;
        }
        totals.entry(Reason::SkippedRuns.into()).or_default().events += loader.skipped_runs();
        self.add(totals, boot_ns(), clock)
    }

    fn add(
        &mut self,
        totals: BTreeMap<LossReason, LossCell>,
        now_ns: u64,
        clock: &Clock,
    ) -> Vec<Gap> {
        let from_ns = std::mem::replace(&mut self.looked_ns, now_ns);
        let mut gaps = Vec::new();
        for (reason, total) in &totals {
            let before = self.totals.get(reason).copied().unwrap_or_default();
            let cell = LossCell {
                events: total.events.saturating_sub(before.events),
                bytes: total.bytes.saturating_sub(before.bytes),
            };
            if cell.events == 0 && cell.bytes == 0 {
                continue;
            }
            gaps.push(Gap {
                from_us: clock.us(from_ns.max(1)),
                until_us: clock.us(now_ns),
                reason: reason.to_string(),
                events: cell.events,
                bytes: cell.bytes,
                container: None,
            });
            self.latest.push_back(LossSpan { until_ns: now_ns, reason: reason.clone(), cell });
        }
        while self.latest.len() > MOST_KEPT {
            self.latest.pop_front();
        }
        self.totals = totals;
        gaps
    }

    /// All losses that were told.
    pub(super) fn totals(&self) -> &BTreeMap<LossReason, LossCell> {
        &self.totals
    }

    /// An earlier recorder has told these losses by this time, nanoseconds since boot.
    pub(super) fn restore(&mut self, at_ns: u64, totals: &[Loss]) {
        let totals = totals.iter().map(|loss| (loss.reason.clone(), loss.cell));
        self.add(totals.collect(), at_ns, &Clock::now());
    }

    /// What was lost since this time, nanoseconds since boot. A finding about a job that ran then may rest on it.
    pub(super) fn since(&self, from_ns: u64) -> impl Iterator<Item = (LossReason, LossCell)> {
        let recent = self.latest.iter().filter(move |loss| loss.until_ns >= from_ns);
        recent.map(|loss| (loss.reason.clone(), loss.cell))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_concerns_the_jobs_that_ran_when_it_happened() {
        let (mut losses, clock) = (Losses::default(), Clock::now());
        let total =
            |events| BTreeMap::from([(Reason::RingFull.into(), LossCell { events, bytes: 0 })]);
        assert_eq!(losses.add(total(3), 1_000, &clock).len(), 1);
        assert_eq!(losses.add(total(3), 2_000, &clock), []);
        let gaps = losses.add(total(5), 3_000, &clock);
        assert_eq!((gaps[0].events, gaps[0].reason.as_str()), (2, "ring_full"));
        let events = |from_ns| losses.since(from_ns).map(|(_, cell)| cell.events).sum::<u64>();
        assert_eq!([500, 1_500, 3_500].map(events), [5, 2, 0]);
    }
}
