//! Which entry of a job is its latest: an interim entry repeats the totals since the beginning of its job.

use std::{collections::HashMap, ops::ControlFlow};

use crate::{
    Entry,
    reader::{Reader, Times},
};

/// The latest entry of each job that has interim entries: 32 bytes for each such job.
#[derive(Debug, Default)]
pub struct Latest {
    /// Pid and beginning of a job; end of its latest entry, and whether that is an interim one.
    jobs: HashMap<(u32, i64), (i64, bool)>,
}

impl Latest {
    /// Looks through the entries that ended in a time span, both ends included, in µs since 1970. It reads no texts.
    #[must_use]
    pub fn of(reader: &Reader, since_us: i64, until_us: i64) -> Self {
        let mut latest = Self::default();
        reader.for_each_times(since_us, until_us, |times| {
            latest.see(times);
            ControlFlow::Continue(())
        });
        latest
    }

    fn see(&mut self, times: Times) {
        let Times { pid, began_us, ended_us, is_interim } = times;
        if is_interim {
            self.jobs.insert((pid, began_us), (ended_us, true));
        } else if let Some(latest) = self.jobs.get_mut(&(pid, began_us)) {
            *latest = (ended_us, false);
        }
    }

    /// Whether an entry is the only one, or the latest one, of its job. An entry that the writer has added meanwhile to a
    /// job with an interim entry is not, so that each job has one.
    #[must_use]
    pub fn is(&self, entry: &Entry) -> bool {
        match self.jobs.get(&(entry.pid, entry.began_us)) {
            Some(latest) => *latest == (entry.ended_us, entry.is_interim),
            None => !entry.is_interim,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(pid: u32, began_us: i64, ended_us: i64, is_interim: bool) -> Times {
        Times { pid, began_us, ended_us, is_interim }
    }

    #[test]
    fn each_job_has_one_latest_entry() {
        let seen = [
            times(1, 0, 10, false),
            times(2, 0, 20, true),
            times(2, 0, 30, true),
            times(3, 0, 30, true),
            times(2, 0, 40, false),
            // Another job with the same pid, and one that began at the same time.
            times(2, 50, 60, false),
            times(4, 0, 70, false),
        ];
        let mut latest = Latest::default();
        seen.into_iter().for_each(|times| latest.see(times));
        let is = |Times { pid, began_us, ended_us, is_interim }| {
            latest.is(&Entry { pid, began_us, ended_us, is_interim, ..Entry::default() })
        };
        assert_eq!(seen.map(is), [true, false, false, true, true, true, true]);
        // What the writer adds during the second walk.
        assert!(!is(times(3, 0, 80, false)) && !is(times(5, 0, 80, true)));
        assert!(is(times(6, 0, 80, false)));
        assert_eq!(latest.jobs.len(), 2);
    }
}
