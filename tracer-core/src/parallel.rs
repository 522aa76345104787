//! Runs jobs on several threads and returns the results in the order of the jobs.

use std::{
    collections::VecDeque,
    io,
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread::{self, Scope},
};

/// Maximal number of threads; each of them holds one job in memory.
const MAX_THREADS: usize = 8;
/// Jobs that wait for one thread, and results that wait behind it. Limits how much is held in memory.
const AHEAD: usize = 2;

/// A thread that runs its jobs in order.
struct Worker<J, R> {
    jobs: SyncSender<J>,
    results: Receiver<R>,
}

impl<J, R> Worker<J, R> {
    fn start<'s>(scope: &'s Scope<'s, '_>, work: impl Fn(J) -> R + Send + 's) -> io::Result<Self>
    where
        J: Send + 's,
        R: Send + 's,
    {
        let (jobs, given) = sync_channel(AHEAD);
        let (done, results) = sync_channel(AHEAD);
        thread::Builder::new().spawn_scoped(scope, move || {
            // Ends when there are no more jobs, or the receiver of the results is gone.
            given.iter().map(work).try_for_each(|result| done.send(result))
        })?;
        Ok(Self { jobs, results })
    }
}

/// Distributes jobs to the threads of a scope, round robin. Where the system allows no thread (the traced tree can use up
/// a limit that it shares with tracer), the calling thread runs the jobs.
pub struct InOrder<'s, 'e, J, R, W> {
    scope: &'s Scope<'s, 'e>,
    work: W,
    /// Started on demand.
    workers: Vec<Worker<J, R>>,
    /// Maximal number of workers; 0 if the calling thread runs the jobs.
    most: usize,
    /// Results of the calling thread.
    own: VecDeque<R>,
    given: usize,
    taken: usize,
}

impl<'s, 'e, J, R, W> InOrder<'s, 'e, J, R, W>
where
    J: Send + 's,
    R: Send + 's,
    W: Fn(J) -> R + Copy + Send + 's,
{
    /// Starts nothing yet; `work` runs each job.
    pub fn new(scope: &'s Scope<'s, 'e>, work: W) -> Self {
        let most = thread::available_parallelism().map_or(1, usize::from).min(MAX_THREADS);
        Self { scope, work, workers: Vec::new(), most, own: VecDeque::new(), given: 0, taken: 0 }
    }

    /// Whether another job can be given without blocking.
    pub const fn has_room(&self) -> bool {
        let threads = if self.most == 0 { 1 } else { self.most };
        self.given - self.taken < threads * AHEAD
    }

    /// Gives a job.
    pub fn give(&mut self, job: J) {
        if self.workers.len() < self.most && self.workers.len() == self.given {
            match Worker::start(self.scope, self.work) {
                Ok(worker) => self.workers.push(worker),
                Err(_) => self.most = self.workers.len(),
            }
        }
        match self.given.checked_rem(self.most).and_then(|index| self.workers.get(index)) {
            // Fails only if the thread has panicked; then the scope panics too.
            Some(worker) => drop(worker.jobs.send(job)),
            None => self.own.push_back((self.work)(job)),
        }
        self.given += 1;
    }

    /// Waits for the next result; `None` if all results were taken, or the thread has panicked.
    pub fn take(&mut self) -> Option<R> {
        if self.taken == self.given {
            return None;
        }
        let index = self.taken.checked_rem(self.most);
        self.taken += 1;
        match index {
            Some(index) => self.workers.get(index)?.results.recv().ok(),
            None => self.own.pop_front(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Doubles the numbers `0..jobs`, one per job, on at most this many threads; takes a result whenever no job can be
    /// given.
    fn doubled(jobs: u64, most: usize) -> Vec<u64> {
        thread::scope(|scope| {
            let mut in_order = InOrder::new(scope, |number: u64| {
                // The first job of each round is the slowest.
                if number.is_multiple_of(5) {
                    thread::yield_now();
                }
                2 * number
            });
            in_order.most = most;
            let (mut numbers, mut results) = (0..jobs, Vec::new());
            loop {
                while in_order.has_room()
                    && let Some(number) = numbers.next()
                {
                    in_order.give(number);
                }
                let Some(result) = in_order.take() else { return results };
                results.push(result);
            }
        })
    }

    #[test]
    fn results_come_in_the_order_of_the_jobs() {
        for (jobs, most) in [(0, 2), (1, 2), (2, 2), (1000, 2), (1000, 7), (1000, 0)] {
            let expected: Vec<u64> = (0..jobs).map(|number| 2 * number).collect();
            assert_eq!(doubled(jobs, most), expected, "{most} threads");
        }
    }

    #[test]
    fn threads_end_when_no_more_results_are_taken() {
        thread::scope(|scope| {
            let mut in_order = InOrder::new(scope, |job: u8| job);
            while in_order.has_room() {
                in_order.give(1);
            }
            assert_eq!(in_order.take(), Some(1));
        });
    }
}
