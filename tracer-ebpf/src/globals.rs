//! Read-only globals, written by the loader before the verifier runs.
//!
//! aya freezes `.rodata`, so the verifier knows each value and drops the branches that a setting or
//! a kernel version rules out.

use aya_ebpf::Global;
use tracer_common::{kernel_offsets, offsets::MISSING};

macro_rules! declare {
    ($($global:ident $strukt:literal $member:literal $required:literal;)*) => {
        $(
            #[doc = concat!("Byte offset of `", $strukt, ".", $member, "`.")]
            #[unsafe(no_mangle)]
            pub(crate) static $global: Global<u64> = Global::new(MISSING);
        )*
    };
}
kernel_offsets!(declare);

/// Bit n set: fd n is of interest.
#[unsafe(no_mangle)]
pub(crate) static FD_MASK: Global<u64> = Global::new(0b110);
/// 1: every fd is of interest.
#[unsafe(no_mangle)]
pub(crate) static ALL_FDS: Global<u32> = Global::new(0);
/// 1: children of targets become targets.
#[unsafe(no_mangle)]
pub(crate) static FOLLOW_CHILDREN: Global<u32> = Global::new(1);
/// How many readers away from the target output is followed.
#[unsafe(no_mangle)]
pub(crate) static FOLLOW_READERS: Global<u32> = Global::new(1);
/// 1: membership in a target cgroup makes a target.
#[unsafe(no_mangle)]
pub(crate) static BY_CGROUP: Global<u32> = Global::new(0);
/// Index into `css_set.subsys`, or `u32::MAX` for the unified hierarchy.
#[unsafe(no_mangle)]
pub(crate) static CGROUP_SUBSYS: Global<u32> = Global::new(u32::MAX);
/// The tracer's own tgid: never a target.
#[unsafe(no_mangle)]
pub(crate) static SELF_TGID: Global<u32> = Global::new(0);
/// 1: `bpf_get_current_task_btf` exists (Linux 5.11).
#[unsafe(no_mangle)]
pub(crate) static HAS_TASK_BTF: Global<u32> = Global::new(0);
/// 1: send debug records through `aya-log`.
#[unsafe(no_mangle)]
pub(crate) static DEBUG_LOG: Global<u32> = Global::new(0);
/// 1: what is written is captured.
#[unsafe(no_mangle)]
pub(crate) static CAPTURE: Global<u32> = Global::new(0);
/// Bytes captured of each row.
#[unsafe(no_mangle)]
pub(crate) static CAPTURE_LIMIT: Global<u64> = Global::new(0);
/// Bytes in the capture ring that wake its reader before its time.
#[unsafe(no_mangle)]
pub(crate) static CAPTURE_WAKE: Global<u64> = Global::new(0);
/// 1: io_uring is counted by its own hooks.
#[unsafe(no_mangle)]
pub(crate) static URING_COVERED: Global<u32> = Global::new(0);
/// 1: `io_uring_complete` passes a `struct io_uring_cqe *`.
#[unsafe(no_mangle)]
pub(crate) static URING_CQE_ARG: Global<u32> = Global::new(0);
/// 1: one short read covers the members of `struct inode` that make up identity.
#[unsafe(no_mangle)]
pub(crate) static INODE_WINDOW: Global<u32> = Global::new(0);
