//! The only module that knows aya: loads the programs, attaches them, reads the maps.
//!
//! Order of a run: [`Loader::load`] → [`Loader::take_events`] → [`Loader::attach`] →
//! [`Loader::adopt`] → … → [`Loader::detach`] → read the ledger and the losses.

mod alive;
#[allow(unsafe_code, reason = "memory is given back by a function of C")]
mod attach;
mod error;
mod hooks;
mod iterate;
mod kernel;
mod ledgers;
#[allow(unsafe_code, reason = "a thread of its own gets another view of the file system")]
mod no_files;
mod object;
mod placing;
#[allow(unsafe_code, reason = "tokio asks for a promise about the descriptors that it waits for")]
mod ring;
#[allow(unsafe_code, reason = "a thread of its own gets another view of the file system")]
mod tracefs;
#[allow(unsafe_code, reason = "a thread's policy is changed by a function of C")]
mod unpreempted;

use aya::{
    Ebpf,
    maps::{Map, MapError},
};

pub use self::{
    attach::{HookCheck, check_hooks},
    error::LoaderError,
    hooks::Manner,
    object::{CaptureScope, CgroupScope, KernelSettings},
    ring::{CaptureRing, EventRing, RawRecord},
};

/// The programs and maps of one trace.
pub struct Loader {
    bpf: Ebpf,
    /// Until the programs are attached.
    kernel: Option<kernel::Kernel>,
    uring_covered: bool,
    manner: Manner,
    unpreempted: unpreempted::Unpreempted,
}

impl Loader {
    /// A map of the object, to be read.
    fn map<'a, M>(&'a self, name: &'static str) -> Result<M, LoaderError>
    where
        M: TryFrom<&'a Map, Error = MapError>,
    {
        let map = self.bpf.map(name).ok_or(LoaderError::NoObject)?;
        map.try_into().map_err(|error| LoaderError::map("open", name, error))
    }

    /// A map of the object, to be changed.
    fn map_mut<'a, M>(&'a mut self, name: &'static str) -> Result<M, LoaderError>
    where
        M: TryFrom<&'a mut Map, Error = MapError>,
    {
        let map = self.bpf.map_mut(name).ok_or(LoaderError::NoObject)?;
        map.try_into().map_err(|error| LoaderError::map("open", name, error))
    }
}
