//! Loads the embedded object: patches settings into it, sizes its maps, and gives it to the kernel.

mod constants;
#[allow(unsafe_code, reason = "a thread of its own gets another view of the file system")]
mod hide_vmlinux_btf;
mod patch;

use std::{path::PathBuf, thread};

use aya::{
    Btf, EbpfLoader, Endianness,
    maps::{Array, HashMap, MapError},
};
use tracer_common::{
    limits, names,
    process::{ProcessEntry, ROLE_TARGET, tgid_filter_slot},
};

use self::{constants::Constants, patch::Markers};
use crate::{
    Loader, LoaderError,
    btf::KernelTypes,
    clock,
    error::{reason, refusal},
    fexit::{self, Functions},
    hooks::{self, Attach, AttachMode},
    kernel::Kernel,
    maps::real_time::RealTime,
    pins::Pins,
    thread::{joined, spawn},
};

/// The eBPF programs, compiled from `tracer-ebpf`. Empty in a build without a BPF compiler.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/tracer.o"));
/// The markers of [`OBJECT`], as the build script counted them.
static MARKERS: Markers = include!(concat!(env!("OUT_DIR"), "/markers.rs"));

/// The settings of the eBPF programs.
#[derive(Clone, Debug)]
pub struct KernelSettings {
    /// Bit n is set if fd n is of interest.
    pub fd_mask: u64,
    /// Every fd is of interest.
    pub all_fds: bool,
    /// Children of targets become targets.
    pub follow_children: bool,
    /// How many readers away from the target tracer follows its output.
    pub follow_readers: u32,
    /// Members of these cgroups are targets.
    pub cgroup: Option<CgroupScope>,
    /// Processes are to be declared while the trace runs ([`Loader::await_process`]).
    pub awaits_processes: bool,
    /// The programs send debug records through `aya-log`.
    pub debug_log: bool,
    /// How many processes can be followed at once.
    pub max_processes: u32,
    /// How many objects can be watched at once. The ledger has five rows for each.
    pub max_objects: u32,
    /// What most programs are attached to. `None` lets the loader choose, and change its choice.
    pub attach_mode: Option<AttachMode>,
    /// What counts bytes.
    pub attach: Attach,
    /// What is captured; `None` for nothing.
    pub capture: Option<CaptureScope>,
    /// A folder in bpffs where programs and maps live on, and where those of an earlier process with the same settings
    /// are adopted; `None` if they end with this process.
    pub pins: Option<PathBuf>,
}

/// What the eBPF programs capture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaptureScope {
    /// Size of the ring in bytes: a power of two, and at least a page.
    pub ring_bytes: u32,
    /// How many bytes of each row are captured; `None` for all.
    pub limit: Option<u64>,
}

impl KernelSettings {
    /// Whether the user asked for this fd. The eBPF programs decide by the same rule.
    #[must_use]
    pub fn is_of_interest(&self, fd: i32) -> bool {
        self.all_fds || (0..64).contains(&fd) && self.fd_mask >> fd & 1 == 1
    }
}

impl Default for KernelSettings {
    fn default() -> Self {
        Self {
            fd_mask: 0b110,
            all_fds: false,
            follow_children: true,
            follow_readers: 1,
            cgroup: None,
            awaits_processes: false,
            debug_log: false,
            max_processes: limits::PROCESSES,
            max_objects: limits::OBJECTS,
            attach_mode: None,
            attach: Attach::default(),
            capture: None,
            pins: None,
        }
    }
}

/// Target cgroups of one hierarchy in the form that the eBPF programs compare.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CgroupScope {
    /// Inode numbers of the cgroups' directories.
    pub ids: Vec<u64>,
    /// Enumerator of `enum cgroup_subsys_id` for a v1 hierarchy; `None` for the v2 hierarchy.
    pub subsystem: Option<String>,
    /// How many cgroups can be targets at a time while the trace runs ([`Loader::add_cgroup`]), those in `ids` among
    /// them. Fewer than there are `ids` means no more than those.
    pub capacity: usize,
}

/// Size in bytes of the eBPF object in this binary; 0 if it was built without one.
#[must_use]
pub fn object_bytes() -> usize {
    OBJECT.len()
}

impl Loader {
    /// Loads the object into the kernel. Attaches nothing.
    ///
    /// # Errors
    /// [`LoaderError`] names the map or the kernel fact that is missing.
    pub fn load(settings: &KernelSettings) -> Result<Self, LoaderError> {
        if OBJECT.is_empty() {
            return Err(LoaderError::NoObject);
        }
        clock::find_offset()?;
        let path = KernelTypes::path();
        thread::scope(|scope| {
            // Each of these two threads takes as long as all the rest.
            let targets = spawn(scope, || Btf::parse_file(&path, Endianness::default()))?;
            let loader = spawn(scope, aya_loader)?;
            let types = KernelTypes::read(&path)?;
            let counting = counting(settings.attach, &types);
            let constants = Constants::collect(&types, settings, counting)?;
            let object = patch::patch(OBJECT, &constants.values, constants.cast, &MARKERS)?;
            let version = || constants.version(OBJECT, settings);
            let pins = settings.pins.as_ref().map(|folder| Pins::open(folder, &version()));
            let pins = pins.transpose()?;
            let pinned = pins.as_ref().map_or(Ok(Vec::new()), Pins::maps)?;
            let mut loader = joined(loader);
            for (name, path) in &pinned {
                loader.map_pin_path(name, path);
            }
            loader.map_max_entries(names::MAP_PROCESSES, settings.max_processes);
            loader.map_max_entries(names::MAP_OBJECTS, settings.max_objects);
            loader.map_max_entries(names::MAP_FILES, settings.max_objects);
            size_cgroups(&mut loader, settings.cgroup.as_ref());
            size_ledger(&mut loader, settings.max_objects);
            size_transition(&mut loader, counting);
            size_capture(&mut loader, settings.capture.as_ref());
            let bpf = loader.load(&object).map_err(|error| refusal(&error))?;
            let targets =
                joined(targets).map_err(|error| LoaderError::Object { reason: reason(&error) })?;
            let mode = settings.attach_mode.unwrap_or_else(|| AttachMode::for_kernel(&types));
            let mode = pins.as_ref().map_or(mode, |pins| hooks::mode_of(pins, mode));
            let mut this = Self {
                bpf,
                kernel: Some(Kernel { types, targets }),
                uring_covered: constants.uring_covered,
                mode,
                counting,
                functions: Functions::default(),
                real_time: RealTime::default(),
                pins,
            };
            if let Some(pins) = this.pins.as_ref().filter(|pins| !pins.are_adopted) {
                pins.pin_maps(&this.bpf)?;
            }
            this.declare_tracer()?;
            this.declare_cgroups(settings)?;
            Ok(this)
        })
    }

    fn declare_tracer(&mut self) -> Result<(), LoaderError> {
        let mut own: Array<_, u32> = self.map_mut(names::MAP_OWN_TGID)?;
        own.set(0, std::process::id(), 0)
            .map_err(|error| LoaderError::map("set", names::MAP_OWN_TGID, error))
    }

    fn declare_cgroups(&mut self, settings: &KernelSettings) -> Result<(), LoaderError> {
        let Some(scope) = &settings.cgroup else { return Ok(()) };
        let mut cgroups: HashMap<_, u64, u32> = self.map_mut(names::MAP_CGROUPS)?;
        // An earlier process may have declared others, which are gone.
        let gone: Vec<u64> =
            cgroups.keys().flatten().filter(|id| !scope.ids.contains(id)).collect();
        for id in gone {
            let _ = cgroups.remove(&id);
        }
        scope.ids.iter().try_for_each(|id| {
            cgroups
                .insert(id, 1, 0)
                .map_err(|error| LoaderError::map("fill", names::MAP_CGROUPS, error))
        })
    }

    /// Makes the members of one more cgroup targets while the trace runs: of processes that are in it already from their
    /// next `execve` on, or from the next [`Loader::adopt`] on. One that is a target already stays one.
    ///
    /// # Errors
    /// [`LoaderError::Map`] also if there are as many as [`CgroupScope::capacity`].
    pub fn add_cgroup(&mut self, id: u64) -> Result<(), LoaderError> {
        let _real_time = self.real_time.enter();
        let mut cgroups: HashMap<_, u64, u32> = self.map_mut(names::MAP_CGROUPS)?;
        cgroups
            .insert(id, 1, 0)
            .map_err(|error| LoaderError::map("fill", names::MAP_CGROUPS, error))
    }

    /// Takes a cgroup out of the targets, which makes room for another one. Processes that are followed already stay so
    /// until they end. One that is no target is no error.
    ///
    /// # Errors
    /// [`LoaderError::Map`].
    pub fn remove_cgroup(&mut self, id: u64) -> Result<(), LoaderError> {
        let _real_time = self.real_time.enter();
        let mut cgroups: HashMap<_, u64, u32> = self.map_mut(names::MAP_CGROUPS)?;
        let removed = match cgroups.get(&id, 0) {
            Ok(_) => cgroups.remove(&id),
            Err(MapError::KeyNotFound) => Ok(()),
            Err(error) => Err(error),
        };
        removed.map_err(|error| LoaderError::map("clear", names::MAP_CGROUPS, error))
    }

    /// Makes a process a target when it executes its next program, or at the next [`Loader::adopt`], while the trace runs.
    ///
    /// # Errors
    /// [`LoaderError::Map`].
    pub fn await_process(&mut self, tgid: u32) -> Result<(), LoaderError> {
        let _real_time = self.real_time.enter();
        let mut awaited: HashMap<_, u32, u32> = self.map_mut(names::MAP_AWAITED)?;
        awaited
            .insert(tgid, 1, 0)
            .map_err(|error| LoaderError::map("fill", names::MAP_AWAITED, error))
    }

    /// Whether a process is still awaited: it has executed no program since [`Loader::await_process`].
    ///
    /// # Errors
    /// [`LoaderError::Map`].
    pub fn is_awaited(&mut self, tgid: u32) -> Result<bool, LoaderError> {
        let _real_time = self.real_time.enter();
        let awaited: HashMap<_, u32, u32> = self.map_mut(names::MAP_AWAITED)?;
        Ok(awaited.get(&tgid, 0).is_ok())
    }

    /// The process has ended: another one with its number is not meant.
    ///
    /// # Errors
    /// [`LoaderError::Map`].
    pub fn forget_awaited(&mut self, tgid: u32) -> Result<(), LoaderError> {
        let _real_time = self.real_time.enter();
        let mut awaited: HashMap<_, u32, u32> = self.map_mut(names::MAP_AWAITED)?;
        // The eBPF programs have removed one that is a target.
        let _ = awaited.remove(&tgid);
        Ok(())
    }

    /// Makes a process a target. [`Loader::adopt`] sets its start time.
    ///
    /// # Errors
    /// [`LoaderError::Map`].
    pub fn add_target(&mut self, tgid: u32) -> Result<(), LoaderError> {
        let mut followed: Array<_, u64> = self.map_mut(names::MAP_TGID_FILTER)?;
        let slot = tgid_filter_slot(tgid);
        // No program is attached yet, so none changes the slot between these two calls.
        let entries = followed
            .get(&slot, 0)
            .map_err(|error| LoaderError::map("read", names::MAP_TGID_FILTER, error))?;
        followed
            .set(slot, entries + 1, 0)
            .map_err(|error| LoaderError::map("fill", names::MAP_TGID_FILTER, error))?;
        let mut processes: HashMap<_, u32, ProcessEntry> = self.map_mut(names::MAP_PROCESSES)?;
        let entry = ProcessEntry { role: ROLE_TARGET, ..ProcessEntry::default() };
        processes
            .insert(tgid, entry, 0)
            .map_err(|error| LoaderError::map("fill", names::MAP_PROCESSES, error))
    }
}

/// aya's loader, which detects the kernel's BPF features first.
fn aya_loader<'a>() -> EbpfLoader<'a> {
    aya::features();
    hide_vmlinux_btf::from_this_thread();
    let mut loader = EbpfLoader::new();
    // Frees the types if aya has read them nevertheless.
    loader.btf(None);
    loader
}

/// What counts bytes on this kernel.
fn counting(wanted: Attach, types: &KernelTypes) -> Attach {
    match fexit::is_tried(wanted, types) {
        Ok(()) => wanted,
        Err(reason) => {
            if let Some(reason) = reason {
                tracing::info!(
                    "counts with --attach sys_exit, because fexit would miss calls: {reason}"
                );
            }
            Attach::SysExit
        }
    }
}

/// Sets the sizes of the maps for the transition to fexit: the smallest possible if there is none.
fn size_transition(loader: &mut EbpfLoader<'_>, counting: Attach) {
    if counting == Attach::SysExit {
        loader.map_max_entries(names::MAP_COUNTED_CALLS, 1);
        loader.map_max_entries(names::MAP_OLD_CALLS, 1);
    }
}

/// Sets the size of the map of target cgroups.
fn size_cgroups(loader: &mut EbpfLoader<'_>, scope: Option<&CgroupScope>) {
    let count = scope.map_or(0, |scope| scope.capacity.max(scope.ids.len()));
    loader.map_max_entries(names::MAP_CGROUPS, u32::try_from(count).unwrap_or(u32::MAX).max(1));
}

/// Sets the sizes of the maps for captured bytes: the smallest possible if nothing is captured.
fn size_capture(loader: &mut EbpfLoader<'_>, capture: Option<&CaptureScope>) {
    let ring = capture.map_or(rustix::param::page_size() as u32, |capture| capture.ring_bytes);
    loader.map_max_entries(names::MAP_CAPTURE, ring);
    if capture.is_none() {
        loader.map_max_entries(names::MAP_CAPTURING, 1);
        loader.map_max_entries(names::MAP_URING_MEMORY, 1);
    }
}

/// Sets the sizes of the maps for rows, in the same ratio as the defaults have: first slots, then rows by fd, and
/// rows by full key for what an fd leads to later.
fn size_ledger(loader: &mut EbpfLoader<'_>, objects: u32) {
    let by_fd = objects.saturating_mul(limits::LEDGER_ROWS / limits::OBJECTS);
    let slots = by_fd.min(limits::ROW_SLOTS);
    loader.map_max_entries(names::MAP_TAKEN_SLOTS, slots);
    loader.map_max_entries(names::MAP_FD_ROWS, (by_fd - slots).max(1));
    let later = objects / (limits::OBJECTS / limits::LATER_ROWS);
    loader.map_max_entries(names::MAP_LEDGER, later.max(1));
}
