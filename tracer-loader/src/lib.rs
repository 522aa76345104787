//! Loads the eBPF programs, attaches them, and reads their maps.
//!
//! Order of a run: [`Loader::load`] → [`Loader::take_events`] → [`Loader::attach`] → [`Loader::adopt`] → … →
//! [`Loader::detach`] → read the ledger and the losses.
//!
//! `load` patches settings and kernel facts ([`btf`]) into the object and loads it. `attach` attaches the programs of
//! the table `hooks`. `maps` reads rows, losses and rings, and runs the kernel's iterators and the sweep.
//!
//! # Invariants
//!
//! 6. In tracer, only this crate loads programs, attaches them and reads maps, and only it calls aya.
//!    (`tracer-common` implements aya's trait `Pod` for the values of maps; the benchmark's `floor`, a program of its
//!    own, calls aya as well.) It knows nothing of sessions, verdicts and reports.
//! 16. The object is loaded only if every marker in it was replaced, exactly as often as the build script counted it
//!     (`load::patch`).
//! 17. No hook is attached before the kernel has verified the programs of all hooks. Hooks are attached in the order of
//!     their table: bytes first, new processes last (`hooks`). Programs on functions come after, while `sys_exit` counts
//!     (`fexit`).
//! 18. A trace begins only if the kernel calls the hook that counts bytes (`attach::self_test`).
//! 19. While programs are on trace events, a `bpf(2)` call that reads or changes a map runs as a real-time task, because
//!     the kernel skips those programs during the call (`maps::real_time`).
//! 20. A BTF file of any content gives types or an error ([`btf`]). The kernel's types are freed when the hooks are
//!     attached.
//!
//! # What it does not do
//!
//! It does not decode records: a [`RawRecord`] goes to `tracer-core` as it is. It prints nothing.

#![deny(unsafe_code)]

mod attach;
pub mod btf;
mod clock;
mod error;
mod fexit;
mod hooks;
mod kernel;
mod load;
mod maps;
mod pins;
mod thread;

use aya::{
    Ebpf,
    maps::{Map, MapError},
};

pub use self::{
    attach::{HookCheck, check_hooks},
    clock::boot_ns,
    error::LoaderError,
    fexit::is_looked_at,
    hooks::{Attach, AttachMode, hook_names},
    load::{CaptureScope, CgroupScope, KernelSettings, object_bytes},
    maps::{
        ring::{Arrived, CaptureRing, EventRing, Keeper, RawRecord},
        sweep::Owner,
    },
    pins::unpin,
};

/// The programs and maps of one trace.
pub struct Loader {
    bpf: Ebpf,
    /// `None` after [`Loader::attach`].
    kernel: Option<kernel::Kernel>,
    uring_covered: bool,
    mode: AttachMode,
    /// What counts bytes, as far as this kernel can be exact with it.
    counting: Attach,
    functions: fexit::Functions,
    real_time: maps::real_time::RealTime,
    /// Where programs and maps live on; `None` if they end with this process.
    pins: Option<pins::Pins>,
}

impl Loader {
    /// Whether programs and maps are those of an earlier process ([`KernelSettings::pins`]), which were attached all the
    /// time.
    #[must_use]
    pub fn is_adopted(&self) -> bool {
        self.pins.as_ref().is_some_and(|pins| pins.are_adopted)
    }

    /// A map of the object, for reading.
    fn map<'a, M>(&'a self, name: &'static str) -> Result<M, LoaderError>
    where
        M: TryFrom<&'a Map, Error = MapError>,
    {
        let map = self.bpf.map(name).ok_or(LoaderError::NoObject)?;
        map.try_into().map_err(|error| LoaderError::map("open", name, error))
    }

    /// A map of the object, for changes.
    fn map_mut<'a, M>(&'a mut self, name: &'static str) -> Result<M, LoaderError>
    where
        M: TryFrom<&'a mut Map, Error = MapError>,
    {
        let map = self.bpf.map_mut(name).ok_or(LoaderError::NoObject)?;
        map.try_into().map_err(|error| LoaderError::map("open", name, error))
    }
}
