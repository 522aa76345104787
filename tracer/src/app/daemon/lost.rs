//! The latest jobs that lost output, for views of the recorder. They are kept as they were judged, and described only
//! when a view asks.

use std::{collections::VecDeque, sync::Arc};

use jiff::{Timestamp, tz::TimeZone};
use tracer_core::session::Session;
use tracer_history::Entry;

use crate::render::place_of;

/// How many jobs are kept.
const MOST_JOBS: usize = 16;
/// The most processes, objects and rows of all of them together: some 2 KiB each.
const MOST_PARTS: usize = 2_048;
/// How long a job is shown, in microseconds.
const SHOWN_US: i64 = 3_600_000_000;

/// A job that has ended, and whose output did not arrive.
#[derive(Debug)]
pub(super) struct LostJob {
    /// What is known about it.
    pub(super) part: Session,
    /// When and where: `07:12:03 report-1`.
    pub(super) place: String,
    /// When it ended, in microseconds since 1970.
    pub(super) ended_us: i64,
}

impl LostJob {
    /// A job with its entry.
    pub(super) fn new(part: Session, entry: &Entry) -> Self {
        let ended = Timestamp::from_microsecond(entry.ended_us).unwrap_or_default();
        let time = ended.to_zoned(TimeZone::system()).strftime("%H:%M:%S").to_string();
        let (name, _) = place_of(&entry.place);
        let place = if name.is_empty() { time } else { format!("{time} {name}") };
        Self { part, place, ended_us: entry.ended_us }
    }

    fn size(&self) -> usize {
        let Session { processes, objects, ledger, .. } = &self.part;
        processes.values().count() + objects.len() + ledger.len()
    }
}

/// The latest of them, the oldest first.
#[derive(Debug, Default)]
pub(super) struct LostJobs {
    jobs: VecDeque<Arc<LostJob>>,
    size: usize,
}

impl LostJobs {
    /// Adds a job. The oldest ones make room; one that is too large alone is only in the history.
    pub(super) fn add(&mut self, job: LostJob) {
        let size = job.size();
        if size > MOST_PARTS {
            return;
        }
        while self.jobs.len() >= MOST_JOBS || self.size + size > MOST_PARTS {
            self.remove_oldest();
        }
        self.size += size;
        self.jobs.push_back(Arc::new(job));
    }

    /// Those that are to be shown now.
    pub(super) fn latest(&mut self, now_us: i64) -> Vec<Arc<LostJob>> {
        let is_old = |job: &Arc<LostJob>| job.ended_us.saturating_add(SHOWN_US) < now_us;
        while self.jobs.front().is_some_and(is_old) {
            self.remove_oldest();
        }
        self.jobs.iter().cloned().collect()
    }

    fn remove_oldest(&mut self) {
        let removed = self.jobs.pop_front();
        self.size -= removed.map_or(0, |job| job.size()).min(self.size);
    }
}

#[cfg(test)]
mod tests {
    use tracer_common::{
        id::ProcessId,
        ledger::{LedgerKey, LedgerRow},
    };

    use super::*;

    fn job(ended_us: i64, rows: u32) -> LostJob {
        let mut part = Session::default();
        for fd in 0..rows {
            let key = LedgerKey {
                process: ProcessId::new(1, 1),
                fd: fd.cast_signed(),
                ..LedgerKey::default()
            };
            part.add_row(key, &LedgerRow::default());
        }
        LostJob { part, place: String::new(), ended_us }
    }

    fn ends(jobs: &mut LostJobs, now_us: i64) -> Vec<i64> {
        jobs.latest(now_us).iter().map(|job| job.ended_us).collect()
    }

    #[test]
    fn the_latest_are_kept_for_an_hour_and_their_size_is_bounded() {
        let mut jobs = LostJobs::default();
        (0..20).for_each(|ended_us| jobs.add(job(ended_us, 1)));
        assert_eq!(ends(&mut jobs, 0), (4..20).collect::<Vec<_>>());
        assert_eq!(ends(&mut jobs, SHOWN_US + 18), [18, 19]);
        jobs.add(job(20, 3_000));
        assert_eq!(ends(&mut jobs, 20), [18, 19]);
        jobs.add(job(21, 2_047));
        assert_eq!((ends(&mut jobs, 20), jobs.size), (vec![19, 21], 2_048));
        assert_eq!((ends(&mut jobs, i64::MAX), jobs.size), (vec![], 0));
    }
}
