//! Takes entries out of the kernel's tables whose object, process or thread has ended ([`tracer_common::sweep`]).

use std::io::{ErrorKind, Read as _};

use aya::maps::{Array, HashMap};
use tracer_common::{
    id::ProcessId,
    ledger::{LedgerKey, ThreadIo, UringRequest},
    names,
    object::{EndKey, FileKey, KnownFile, ObjectId, ReadEnd, Watch},
    process::ProcessEntry,
    sweep::{self, Run},
};

use super::ledgers::keys;
use crate::{Loader, LoaderError};

impl Loader {
    /// Takes an object out of its table if it has ended. `is_held` says whether an fd of a followed process leads to
    /// it. Returns whether the object is out of the table.
    ///
    /// # Errors
    /// [`LoaderError::Program`].
    pub fn release_object(
        &mut self,
        object: &ObjectId,
        is_held: bool,
    ) -> Result<bool, LoaderError> {
        self.ask(sweep::end_of_object(object, is_held))
    }

    /// Whether an fd of a followed process may lead to an object. `false` is certain.
    ///
    /// # Errors
    /// [`LoaderError::Program`].
    pub fn may_lead_to(
        &mut self,
        process: ProcessId,
        fd: i32,
        object: &ObjectId,
    ) -> Result<bool, LoaderError> {
        self.ask(sweep::leads_to(process, fd, object))
    }

    /// Takes out what belongs to a process or thread for which `has_ended` returns true: followed processes, read
    /// ends, io_uring requests and interrupted calls. Read ends of living processes are taken out if they are closed; the
    /// program then sends a record of the close. Known files are taken out if they can never be opened again.
    ///
    /// # Errors
    /// [`LoaderError`].
    pub fn forget_the_dead(
        &mut self,
        has_ended: impl Fn(Owner) -> bool,
    ) -> Result<(), LoaderError> {
        for (tgid, entry) in self.all::<u32, ProcessEntry>(names::MAP_PROCESSES)? {
            let process = ProcessId::new(tgid, entry.start_ns);
            if has_ended(Owner::Process(process)) {
                self.ask(sweep::dead_process(process))?;
            }
        }
        for (key, end) in self.all::<EndKey, ReadEnd>(names::MAP_READ_ENDS)? {
            self.ask(sweep::read_end(ProcessId::new(key.tgid, end.start_ns), key.fd))?;
        }
        for (address, request) in self.all::<u64, UringRequest>(names::MAP_URING)? {
            if has_ended(Owner::Process(request.process)) {
                self.ask(sweep::request(address, request.process))?;
            }
        }
        for (tid, key) in self.all::<u32, LedgerKey>(names::MAP_INTERRUPTED)? {
            if has_ended(Owner::Thread(tid)) || has_ended(Owner::Process(key.process)) {
                self.ask(sweep::interrupted(tid))?;
            }
        }
        for (key, _) in self.all::<FileKey, KnownFile>(names::MAP_FILES)? {
            self.ask(sweep::known_file(&key))?;
        }
        let known = self.all::<u32, ThreadIo>(names::MAP_THREAD_IO)?;
        let mut threads: HashMap<_, u32, ThreadIo> = self.map_mut(names::MAP_THREAD_IO)?;
        for (tid, _) in known.into_iter().filter(|(tid, _)| has_ended(Owner::Thread(*tid))) {
            // An error means that the entry is gone. A new thread with this number does without.
            let _ = threads.remove(&tid);
        }
        Ok(())
    }

    /// The objects that are under watch.
    ///
    /// # Errors
    /// [`LoaderError::Map`].
    pub fn watched_objects(&self) -> Result<Vec<ObjectId>, LoaderError> {
        let objects: HashMap<_, ObjectId, Watch> = self.map(names::MAP_OBJECTS)?;
        keys(&objects, names::MAP_OBJECTS)
    }

    /// Runs the sweep program, which answers one question.
    fn ask(&mut self, arguments: [u64; sweep::ARGUMENTS]) -> Result<bool, LoaderError> {
        {
            let _real_time = self.real_time.enter();
            let mut run: Array<_, Run> = self.map_mut(names::MAP_SWEEP_RUN)?;
            run.set(0, Run { arguments, answer: 0 }, 0)
                .map_err(|error| LoaderError::map("fill", names::MAP_SWEEP_RUN, error))?;
        }
        match self.start_iterator(names::SWEEP)?.read(&mut [0]) {
            // The program ends its walk at the first task, which user space sees as this error.
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => {
                return Err(LoaderError::Program { hook: names::SWEEP, reason: error.to_string() });
            }
            Ok(_) => {}
        }
        let _real_time = self.real_time.enter();
        let run: Array<_, Run> = self.map(names::MAP_SWEEP_RUN)?;
        let run = run.get(&0, 0);
        let run = run.map_err(|error| LoaderError::map("read", names::MAP_SWEEP_RUN, error))?;
        Ok(run.answer != 0)
    }
}

/// The process or thread that an entry belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// A process.
    Process(ProcessId),
    /// A thread, by its tid in the initial pid namespace.
    Thread(u32),
}
