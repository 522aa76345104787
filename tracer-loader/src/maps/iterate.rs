//! Runs the kernel's iterators: over tasks to adopt processes, and over open files to find the holders of objects.
//!
//! An iterator can send more records than the ring holds, so the ring is emptied while it runs.

use std::{
    fs::File,
    io::{self, Read as _},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use aya::{maps::Array, programs::Iter};
use rustix::time::{ClockId, clock_gettime};
use tracer_common::names;

use crate::{EventRing, Loader, LoaderError, error::reason};

/// How many passes over all tasks adoption makes at most. Each pass that adopts a process reaches one generation
/// further.
const PASSES: u32 = 64;
/// How often the ring is emptied while an iterator runs. In that time an iterator writes some hundred kilobytes, and
/// the ring has room for ten times as much.
const EMPTIED_EVERY: Duration = Duration::from_millis(1);

impl Loader {
    /// Adopts the processes that started before the hooks were attached. Repeats the pass over all tasks until a pass
    /// finds no new process. Returns how many processes it adopted. Their records wait in `events`.
    ///
    /// # Errors
    /// [`LoaderError`] if the iterator cannot run.
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

    /// Has the kernel send a record for each process that holds a watched object open. The records wait in `events`.
    /// Returns the processor time that the kernel took, which depends on the number of open files of the machine.
    ///
    /// # Errors
    /// [`LoaderError`] if the iterator cannot run.
    pub fn list_holders(&mut self, events: &mut EventRing) -> Result<Duration, LoaderError> {
        self.run_iterator(names::HOLDERS, events)
    }

    fn run_iterator(
        &mut self,
        name: &'static str,
        events: &mut EventRing,
    ) -> Result<Duration, LoaderError> {
        let file = self.start_iterator(name)?;
        walk(&file, events)
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
        let _real_time = self.real_time.enter();
        let counter: Array<_, u64> = self.map(names::MAP_ADOPTED)?;
        counter.get(&0, 0).map_err(|error| LoaderError::map("read", names::MAP_ADOPTED, error))
    }

    fn set_adopting(&mut self, value: u32) -> Result<(), LoaderError> {
        let _real_time = self.real_time.enter();
        let mut flag: Array<_, u32> = self.map_mut(names::MAP_ADOPTING)?;
        flag.set(0, value, 0).map_err(|error| LoaderError::map("set", names::MAP_ADOPTING, error))
    }
}

/// Name of the thread that runs an iterator.
const SURVEY: &str = "survey";

/// Runs an iterator on a thread of its own, and empties the ring in the meantime. Where the system allows no thread (the
/// traced tree can use up a limit that it shares with tracer), the calling thread runs it, and the ring must have room.
/// Returns the processor time that it took.
fn walk(file: &File, events: &mut EventRing) -> io::Result<Duration> {
    let (is_over, waiter) = (AtomicBool::new(false), thread::current());
    // The programs print nothing. The kernel iterates while the file is read.
    let run = || {
        let began = processor_time();
        (&*file).read_to_end(&mut Vec::new())?;
        Ok(processor_time().saturating_sub(began))
    };
    thread::scope(|scope| {
        let spawned = thread::Builder::new().name(SURVEY.to_owned()).spawn_scoped(scope, || {
            let result = run();
            is_over.store(true, Ordering::Release);
            waiter.unpark();
            result
        });
        let Ok(walker) = spawned else {
            let result = run();
            events.keep();
            return result;
        };
        while !is_over.load(Ordering::Acquire) {
            thread::park_timeout(EMPTIED_EVERY);
            events.keep();
        }
        walker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Processor time of the calling thread.
fn processor_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}
