//! Runs jobs on several threads and returns the results in the order of the jobs.

use std::{
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
    fn start<'s>(scope: &'s Scope<'s, '_>, work: impl Fn(J) -> R + Send + 's) -> Self
    where
        J: Send + 's,
        R: Send + 's,
    {
        let (jobs, given) = sync_channel(AHEAD);
        let (done, results) = sync_channel(AHEAD);
        scope.spawn(move || {
            // Ends when there are no more jobs, or the receiver of the results is gone.
            given.iter().map(work).try_for_each(|result| done.send(result))
        });
        Self { jobs, results }
    }
}

/// Distributes jobs to the threads of a scope, round robin.
pub struct InOrder<'s, 'e, J, R, W> {
    scope: &'s Scope<'s, 'e>,
    work: W,
    /// Started on demand.
    workers: Vec<Worker<J, R>>,
    most: usize,
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
        Self { scope, work, workers: Vec::new(), most, given: 0, taken: 0 }
    }

    /// Whether another job can be given without blocking.
    pub const fn has_room(&self) -> bool {
        self.given - self.taken < self.most * AHEAD
    }

    /// Gives a job.
    pub fn give(&mut self, job: J) {
        if self.workers.len() < self.most && self.workers.len() == self.given {
            self.workers.push(Worker::start(self.scope, self.work));
        }
        if let Some(worker) = self.workers.get(self.given % self.most) {
            // Fails only if the thread has panicked; then the scope panics too.
            let _ = worker.jobs.send(job);
        }
        self.given += 1;
    }

    /// Waits for the next result; `None` if all results were taken, or the thread has panicked.
    pub fn take(&mut self) -> Option<R> {
        if self.taken == self.given {
            return None;
        }
        let worker = self.workers.get(self.taken % self.most)?;
        self.taken += 1;
        worker.results.recv().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Doubles the numbers `0..jobs`, one per job; takes a result whenever no job can be given.
    fn doubled(jobs: u64) -> Vec<u64> {
        thread::scope(|scope| {
            let mut in_order = InOrder::new(scope, |number: u64| {
                // The first job of each round is the slowest.
                if number.is_multiple_of(5) {
                    thread::yield_now();
                }
                2 * number
            });
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
        for jobs in [0, 1, 2, 1000] {
            assert_eq!(doubled(jobs), (0..jobs).map(|number| 2 * number).collect::<Vec<_>>());
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
