//! `--max-memory`: how much memory the session of a trace may take. Beyond it, processes that have ended are summed up.

use tracer_common::{id::ProcessId, object::ObjectId};
use tracer_core::session::{Job, Session};

use super::replay::memory;

/// The session is measured after this many events at the earliest, because that walks over all of it.
const AT_LEAST: u64 = 1024;
/// Memory that one event takes at most, apart from rare ones: a process with 4 KiB of arguments, or with fourteen
/// variables of 1 KiB.
const EACH_EVENT: u64 = 16 << 10;

/// Without an option, a trace may take one part in this many of what `tracer report` may take: it must not crowd out what
/// it watches.
const SHARE: u64 = 4;

/// The limit of one trace.
#[derive(Debug)]
pub(super) struct MemoryLimit {
    bytes: u64,
    /// Pids of the processes that the user named.
    keep: Vec<u32>,
    /// Whether each job is judged by itself when it has ended, so that it must not be summed up before.
    of_jobs: bool,
    /// Jobs that were summed up before they were judged, since the last call of [`Self::lost_jobs`].
    lost_jobs: u64,
    /// How many more events may come before the session is measured again.
    until_measured: u64,
}

impl MemoryLimit {
    /// A limit of this many bytes, else of a part of the machine's memory; processes with these pids are never summed up.
    pub(super) fn new(bytes: Option<u64>, keep: Vec<u32>) -> Self {
        let bytes = bytes.unwrap_or_else(|| memory() / SHARE);
        Self { bytes, keep, of_jobs: false, lost_jobs: 0, until_measured: AT_LEAST }
    }

    /// The limit of a recorder: only processes below a job that runs on are summed up. At [`MOST_WAITING`] times the limit
    /// jobs that wait to be judged are as well.
    pub(super) fn of_jobs(bytes: u64) -> Self {
        Self { of_jobs: true, ..Self::new(Some(bytes), Vec::new()) }
    }

    /// How many jobs found no room since the last call: they have no entries.
    pub(super) fn lost_jobs(&mut self) -> u64 {
        std::mem::take(&mut self.lost_jobs)
    }

    /// An event or a row was added.
    pub(super) fn added(&mut self) {
        self.until_measured = self.until_measured.saturating_sub(1);
    }

    /// Sums up if the session takes too much. `is_watched`: whether an object has not ended.
    pub(super) fn keep_to(
        &mut self,
        session: &mut Session,
        is_watched: impl Fn(&ObjectId) -> bool,
    ) {
        if self.until_measured > 0 {
            return;
        }
        let mut used = session.memory();
        if used > self.bytes {
            let is_full = used / MOST_WAITING > self.bytes;
            let keep = match self.of_jobs {
                true if is_full => {
                    let jobs = session.jobs();
                    self.lost_jobs +=
                        jobs.iter().filter(|job| job.ended_ns.is_some()).count() as u64;
                    Vec::new()
                }
                true => judged_later(session),
                false => self.keep.clone(),
            };
            // A quarter more, so that this is not done again soon.
            session.sum_up(used - self.bytes / 4 * 3, &keep, is_watched);
            used = session.memory();
            tracing::debug!(used, limit = self.bytes, "summed up processes that have ended");
        }
        let size = session.processes.len() as u64 / 8;
        let room = self.bytes.saturating_sub(used) / EACH_EVENT;
        self.until_measured = AT_LEAST.max(size).max(room);
    }
}

/// How many times the limit the session of a recorder may take while jobs wait to be judged.
const MOST_WAITING: u64 = 2;

/// Pids of the first processes of all jobs, and of all processes of jobs that have ended.
fn judged_later(session: &Session) -> Vec<u32> {
    let of_job = |job: Job| {
        let has_ended = job.ended_ns.is_some();
        let wanted = move |id: &ProcessId| has_ended || *id == job.root;
        job.members.into_iter().filter(wanted)
    };
    session.jobs().into_iter().flat_map(of_job).map(|id| id.tgid).collect()
}

#[cfg(test)]
mod tests {
    use tracer_core::session::Process;

    use super::*;

    fn process(tgid: u32, parent: u32, end_ns: Option<u64>) -> Process {
        let id = |tgid: u32| ProcessId::new(tgid, tgid.into());
        Process {
            id: id(tgid),
            parent: id(parent),
            is_target: true,
            end_ns,
            status: Some(0),
            ..Process::default()
        }
    }

    /// 5 has ended; 7 runs on, and its children 8 and 9 have ended.
    fn session() -> Session {
        let mut session = Session::default();
        let ended = Some(1_000);
        for process in [
            process(5, 1, ended),
            process(6, 5, ended),
            process(7, 1, None),
            process(8, 7, ended),
            process(9, 7, Some(u64::MAX / 2)),
        ] {
            session.processes.insert(process.id, process);
        }
        session
    }

    fn left_by(mut limit: MemoryLimit) -> Vec<u32> {
        left(&mut limit)
    }

    fn left(limit: &mut MemoryLimit) -> Vec<u32> {
        let mut session = session();
        (0..=AT_LEAST).for_each(|_| limit.added());
        limit.keep_to(&mut session, |_| false);
        let is_single = |process: &&Process| process.summed_up.is_none();
        session.processes.values().filter(is_single).map(|process| process.id.tgid).collect()
    }

    #[test]
    fn a_recorder_sums_up_no_job_that_is_not_judged() {
        assert_eq!(left_by(MemoryLimit::of_jobs(session().memory() - 1)), [5, 6, 7, 9]);
        assert_eq!(left_by(MemoryLimit::new(Some(1), vec![7])), [7, 9]);
        assert_eq!(left_by(MemoryLimit::of_jobs(1 << 30)), [5, 6, 7, 8, 9]);
    }

    #[test]
    fn jobs_that_find_no_room_are_counted() {
        let mut limit = MemoryLimit::of_jobs(1);
        assert!(left(&mut limit).len() < 4);
        assert_eq!((limit.lost_jobs(), limit.lost_jobs()), (1, 0));
    }
}
