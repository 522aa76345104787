//! The values of the constants in the eBPF programs.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use tracer_common::offsets::settings;

use super::{
    KernelSettings,
    patch::{self, RdonlyCast},
};
use crate::{
    LoaderError,
    btf::KernelTypes,
    clock,
    hooks::{self, Attach},
};

/// The kernel wakes the reader of the capture ring when one part in this many is full. The reader also looks at the
/// ring without being woken.
const WAKE_SHARE: u64 = 8;

/// Values of the constants in the eBPF programs, and what was found out for them.
pub(super) struct Constants {
    /// By number.
    pub(super) values: patch::Constants,
    /// Whether io_uring's hooks name the request.
    pub(super) uring_covered: bool,
    /// `None` on kernels without it.
    pub(super) cast: Option<RdonlyCast>,
}

impl Constants {
    /// The values for this kernel and these settings.
    pub(super) fn collect(
        types: &KernelTypes,
        settings: &KernelSettings,
        counting: Attach,
    ) -> Result<Self, LoaderError> {
        let mut values = patch::Constants::new();
        for (number, (_, offset)) in (0..).zip(types.offsets()?) {
            values.set(number, offset);
        }
        values.set(settings::FD_MASK, settings.fd_mask);
        values.set(settings::TRACE_START, clock::boot_ns());
        let (limit, wake) = settings.capture.as_ref().map_or((0, 0), |capture| {
            (capture.limit.unwrap_or(u64::MAX), u64::from(capture.ring_bytes) / WAKE_SHARE)
        });
        values.set(settings::CAPTURE_LIMIT, limit);
        values.set(settings::CAPTURE_WAKE, wake);
        let uring = hooks::uring(types);
        let cast = RdonlyCast::find(types);
        for (number, value) in [
            (settings::ALL_FDS, u32::from(settings.all_fds)),
            (settings::FOLLOW_CHILDREN, u32::from(settings.follow_children)),
            (settings::FOLLOW_READERS, settings.follow_readers),
            (settings::BY_CGROUP, u32::from(settings.cgroup.is_some())),
            (settings::AWAITS_PROCESSES, u32::from(settings.awaits_processes)),
            (settings::CGROUP_SUBSYS, subsystem(types, settings)?),
            (settings::HAS_TASK_BTF, u32::from(has_task_btf(types))),
            (settings::DEBUG_LOG, u32::from(settings.debug_log)),
            (settings::URING_COVERED, u32::from(uring.is_some())),
            (settings::URING_CQE_ARG, u32::from(uring.is_some_and(|uring| uring.cqe_argument))),
            (settings::FEXIT, u32::from(counting != Attach::SysExit)),
            (settings::CAPTURE, u32::from(settings.capture.is_some())),
            (settings::HAS_CAST, u32::from(cast.is_some())),
            (settings::TYPE_FILE, cast.map_or(0, |cast| cast.file)),
            (settings::TYPE_TASK, cast.map_or(0, |cast| cast.task)),
            (settings::TYPE_TIMESPEC, cast.map_or(0, |cast| cast.timespec)),
            (settings::INODE_WINDOW, u32::from(types.inode_fits_window())),
        ] {
            values.set(number, u64::from(value));
        }
        Ok(Self { values, uring_covered: uring.is_some(), cast })
    }

    /// The name of an object with these values and sizes: what has another name cannot be adopted.
    pub(super) fn version(&self, object: &[u8], settings: &KernelSettings) -> String {
        let mut values = self.values.clone();
        // It differs each time, and stays that of the first process.
        values.set(settings::TRACE_START, 0);
        let cgroups = settings.cgroup.as_ref();
        let cgroups = cgroups.map(|scope| (&scope.subsystem, scope.capacity.max(scope.ids.len())));
        let capture = settings.capture.as_ref().map(|capture| capture.ring_bytes);
        let mut hasher = DefaultHasher::new();
        (object, values, settings.max_processes, settings.max_objects, cgroups, capture)
            .hash(&mut hasher);
        // bpffs refuses names with dots (`bpf_lookup`, kernel/bpf/inode.c).
        let version = env!("CARGO_PKG_VERSION").replace('.', "-");
        format!("{version}-{:016x}", hasher.finish())
    }
}

/// `bpf_get_current_task_btf` and the enumerator of its number came with Linux 5.11.
fn has_task_btf(types: &KernelTypes) -> bool {
    types.enumerator("bpf_func_id", "BPF_FUNC_get_current_task_btf").is_some()
}

fn subsystem(types: &KernelTypes, settings: &KernelSettings) -> Result<u32, LoaderError> {
    let Some(name) = settings.cgroup.as_ref().and_then(|scope| scope.subsystem.as_ref()) else {
        return Ok(settings::CGROUP_V2);
    };
    types
        .enumerator("cgroup_subsys_id", name)
        .ok_or_else(|| LoaderError::NoController { enumerator: name.clone() })
}
