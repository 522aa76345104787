//! Whether a path or an fd leads to an object of the session.

use rustix::fs::{major, minor};
use tracer_common::object::ObjectId;

/// `st_dev` of `stat(2)` in the kernel's own encoding, which [`ObjectId::dev`] has.
pub(super) fn kernel_dev(st_dev: u64) -> u32 {
    major(st_dev) << 20 | minor(st_dev)
}

/// Whether an inode with this number and device is the object. The rest of an object's identity is not in `stat(2)`.
pub(super) fn is_same_inode(id: &ObjectId, st_ino: u64, st_dev: u64) -> bool {
    (st_ino, kernel_dev(st_dev)) == (id.ino, id.dev)
}
