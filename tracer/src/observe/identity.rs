//! Whether a path or an fd leads to an object of the session.

use std::str::FromStr;

use rustix::fs::{major, minor};
use tracer_common::object::ObjectId;

use crate::sys::bounded;

/// `st_dev` of `stat(2)` in the kernel's own encoding, which [`ObjectId::dev`] has.
pub(super) fn kernel_dev(st_dev: u64) -> u32 {
    major(st_dev) << 20 | minor(st_dev)
}

/// Whether an inode with this number and device is the object. The rest of an object's identity is not in `stat(2)`.
pub(super) fn is_same_inode(id: &ObjectId, st_ino: u64, st_dev: u64) -> bool {
    (st_ino, kernel_dev(st_dev)) == (id.ino, id.dev)
}

/// What the names of masters of ptys end with, as objects of the session are called.
pub(super) const MASTER: &str = " (master)";

/// The name of the pty whose master an fd is, from `/proc/PID/fdinfo`.
pub(super) fn terminal_of(tgid: u32, fd: i32) -> Option<String> {
    let number: u32 = info_of_fd(tgid, fd, "tty-index:")?;
    Some(format!("/dev/pts/{number}{MASTER}"))
}

/// The inode number of what an fd leads to, from `/proc/PID/fdinfo` (Linux 5.14): unlike `stat(2)`, it asks no file
/// system. `None` on older kernels, or if the fd is closed.
pub(crate) fn inode_of_fd(tgid: u32, fd: i32) -> Option<u64> {
    info_of_fd(tgid, fd, "ino:")
}

/// The flags of an fd's open file.
pub(super) fn flags_of_fd(tgid: u32, fd: i32) -> Option<u32> {
    let octal: String = info_of_fd(tgid, fd, "flags:")?;
    u32::from_str_radix(&octal, 8).ok()
}

/// A number that `/proc/PID/fdinfo` has about an fd.
fn info_of_fd<T: FromStr>(tgid: u32, fd: i32, name: &str) -> Option<T> {
    let info = bounded::text(format!("/proc/{tgid}/fdinfo/{fd}")).ok()?;
    info.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
}
