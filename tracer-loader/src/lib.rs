//! Loads the eBPF programs, attaches them, and reads the maps.
//!
//! Order of a run: [`Loader::load`] → [`Loader::take_events`] → [`Loader::attach`] →
//! [`Loader::adopt`] → … → [`Loader::detach`] → read the ledger and the losses.
//!
//! `load` puts settings and kernel facts ([`btf`]) into the object and loads it, `attach` attaches the programs of the
//! table `hooks`, and `maps` reads rows, losses and rings and runs the kernel's iterators.
//!
//! # Invariants
//!
//! 6. Only this crate uses aya. It knows nothing of sessions, verdicts and reports.
//!
//! # What it does not do
//!
//! It does not decode records: a [`RawRecord`] goes to `tracer-core` as it is. It prints nothing.

#![deny(unsafe_code)]

mod attach;
pub mod btf;
mod error;
mod hooks;
mod load;
mod maps;

use aya::{
    Ebpf,
    maps::{Map, MapError},
};

pub use self::{
    attach::{HookCheck, check_hooks},
    error::LoaderError,
    hooks::AttachMode,
    load::{CaptureScope, CgroupScope, KernelSettings},
    maps::{
        ring::{CaptureRing, EventRing, RawRecord},
        sweep::Owner,
    },
};

/// The programs and maps of one trace.
pub struct Loader {
    bpf: Ebpf,
    /// Until the programs are attached.
    kernel: Option<load::Kernel>,
    uring_covered: bool,
    mode: AttachMode,
    unpreempted: maps::unpreempted::Unpreempted,
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
