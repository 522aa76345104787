//! Whether what a path or an fd leads to is an object of the session.

use rustix::fs::{major, minor};
use tracer_common::object::ObjectId;

/// `st_dev` of `stat(2)` in the kernel's own encoding, as [`ObjectId::dev`] has it.
pub(super) fn kernel_dev(st_dev: u64) -> u32 {
    major(st_dev) << 20 | minor(st_dev)
}

/// Whether an inode of this number and device is the object; what else tells objects apart is not in
/// `stat(2)`.
pub(super) fn is_same_inode(id: &ObjectId, st_ino: u64, st_dev: u64) -> bool {
    (st_ino, kernel_dev(st_dev)) == (id.ino, id.dev)
}
