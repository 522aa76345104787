//! Runs the kernel's own iterators: over tasks to adopt what is there, over open files to find who
//! holds an object.
//!
//! One of them can send more records than the ring holds, so the ring is emptied while it runs.

use std::{
    fs::File,
    io::{self, Read as _},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use aya::{maps::Array, programs::Iter};
use tracer_common::names;

use crate::{EventRing, Loader, LoaderError, error::reason};

/// Passes over all tasks before adoption gives up; each one that adopts somebody goes a generation
/// deeper.
const PASSES: u32 = 64;
/// How often the ring is emptied while an iterator runs: it writes some hundred kilobytes in that time,
/// and the ring has room for ten times as much.
const EMPTIED_EVERY: Duration = Duration::from_millis(1);

impl Loader {
    /// Adopts the processes that were there before the hooks: repeats the walk over all tasks until
    /// one finds nobody new. Returns how many were adopted. What they send waits in `events`.
    ///
    /// # Errors
    /// [`LoaderError`] when the iterator cannot run.
    pub fn adopt(&mut self, events: &mut EventRing) -> Result<u64, LoaderError> {
        self.set_adopting(1)?;
        let mut before = self.adopted()?;
        let first = before;
        for _ in 0..PASSES {
            self.run_iterator(names::ADOPT, events)?;
            let now = self.adopted()?;
            if now == before {
                break;
            }
            before = now;
        }
        self.set_adopting(0)?;
        Ok(before - first)
    }

    /// Sends a record for each process that holds an object under watch open; they wait in `events`.
    ///
    /// # Errors
    /// [`LoaderError`] when the iterator cannot run.
    pub fn list_holders(&mut self, events: &mut EventRing) -> Result<(), LoaderError> {
        self.run_iterator(names::HOLDERS, events)
    }

    fn run_iterator(
        &mut self,
        name: &'static str,
        events: &mut EventRing,
    ) -> Result<(), LoaderError> {
        let file = self.start_iterator(name)?;
        walk(file, events)
            .map_err(|error| LoaderError::Program { hook: name, reason: reason(&error) })
    }

    /// A file whose reads make an iterator walk.
    pub(super) fn start_iterator(&mut self, name: &'static str) -> Result<File, LoaderError> {
        let refused = |error: &dyn std::error::Error| LoaderError::Program {
            hook: name,
            reason: reason(error),
        };
        let program = self.bpf.program_mut(name).ok_or(LoaderError::NoObject)?;
        let iterator: &mut Iter = program.try_into().map_err(|error| refused(&error))?;
        let link = iterator.attach().map_err(|error| refused(&error))?;
        let link = iterator.take_link(link).map_err(|error| refused(&error))?;
        link.into_file().map_err(|error| refused(&error))
    }

    fn adopted(&mut self) -> Result<u64, LoaderError> {
        let _moment = self.unpreempted.begin();
        let counter: Array<_, u64> = self.map(names::MAP_ADOPTED)?;
        counter.get(&0, 0).map_err(|error| LoaderError::map("read", names::MAP_ADOPTED, error))
    }

    fn set_adopting(&mut self, value: u32) -> Result<(), LoaderError> {
        let _moment = self.unpreempted.begin();
        let mut flag: Array<_, u32> = self.map_mut(names::MAP_ADOPTING)?;
        flag.set(0, value, 0).map_err(|error| LoaderError::map("set", names::MAP_ADOPTING, error))
    }
}

/// Name of the thread on which the kernel walks.
const SURVEY: &str = "survey";

/// Has the kernel walk, on a thread of its own, and empties the ring meanwhile.
fn walk(mut file: File, events: &mut EventRing) -> io::Result<()> {
    let (is_over, waiter) = (AtomicBool::new(false), thread::current());
    thread::scope(|scope| {
        let walker = thread::Builder::new().name(SURVEY.to_owned()).spawn_scoped(scope, || {
            // The programs print nothing: reading to the end is what makes the kernel walk.
            let result = file.read_to_end(&mut Vec::new());
            is_over.store(true, Ordering::Release);
            waiter.unpark();
            result
        })?;
        while !is_over.load(Ordering::Acquire) {
            thread::park_timeout(EMPTIED_EVERY);
            events.keep();
        }
        let result = walker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        result.map(|_| ())
    })
}
