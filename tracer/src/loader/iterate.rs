//! Runs the kernel's own iterators: over tasks to adopt what is there, over open files to find who
//! holds an object.

use std::io::Read as _;

use aya::{maps::Array, programs::Iter};
use tracer_common::names;

use super::{Loader, LoaderError, error::reason};

/// Passes over all tasks before adoption gives up; each one that adopts somebody goes a generation
/// deeper.
const PASSES: u32 = 64;

impl Loader {
    /// Adopts the processes that were there before the hooks: repeats the walk over all tasks until
    /// one finds nobody new. Returns how many were adopted.
    ///
    /// # Errors
    /// [`LoaderError`] when the iterator cannot run.
    pub fn adopt(&mut self) -> Result<u64, LoaderError> {
        self.set_adopting(1)?;
        let mut before = self.adopted()?;
        let first = before;
        for _ in 0..PASSES {
            self.run_iterator(names::ADOPT)?;
            let now = self.adopted()?;
            if now == before {
                break;
            }
            before = now;
        }
        self.set_adopting(0)?;
        Ok(before - first)
    }

    /// Sends a record for each process that holds an object under watch open.
    ///
    /// # Errors
    /// [`LoaderError`] when the iterator cannot run.
    pub fn list_holders(&mut self) -> Result<(), LoaderError> {
        self.run_iterator(names::HOLDERS)
    }

    fn run_iterator(&mut self, name: &'static str) -> Result<(), LoaderError> {
        let refused = |error: &dyn std::error::Error| LoaderError::Program {
            hook: name,
            reason: reason(error),
        };
        let program = self.bpf.program_mut(name).ok_or(LoaderError::NoObject)?;
        let iterator: &mut Iter = program.try_into().map_err(|error| refused(&error))?;
        let link = iterator.attach().map_err(|error| refused(&error))?;
        let link = iterator.take_link(link).map_err(|error| refused(&error))?;
        let mut file = link.into_file().map_err(|error| refused(&error))?;
        // The programs print nothing: reading to the end is what makes the kernel walk.
        let mut sink = Vec::new();
        file.read_to_end(&mut sink).map(|_| ()).map_err(|error| refused(&error))
    }

    fn adopted(&mut self) -> Result<u64, LoaderError> {
        let map = self.bpf.map(names::MAP_ADOPTED).ok_or(LoaderError::NoObject)?;
        let counter: Array<_, u64> = Array::try_from(map)
            .map_err(|error| LoaderError::map("open", names::MAP_ADOPTED, error))?;
        counter.get(&0, 0).map_err(|error| LoaderError::map("read", names::MAP_ADOPTED, error))
    }

    fn set_adopting(&mut self, value: u32) -> Result<(), LoaderError> {
        let map = self.bpf.map_mut(names::MAP_ADOPTING).ok_or(LoaderError::NoObject)?;
        let mut flag: Array<_, u32> = Array::try_from(map)
            .map_err(|error| LoaderError::map("open", names::MAP_ADOPTING, error))?;
        flag.set(0, value, 0).map_err(|error| LoaderError::map("set", names::MAP_ADOPTING, error))
    }
}
