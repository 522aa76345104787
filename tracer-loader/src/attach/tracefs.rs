//! tracefs, in which the kernel publishes its trace events. Nearly every system has it mounted. Where it is not, one
//! thread mounts it in a mount namespace of its own, so that other processes see no change.

use std::{io, path::Path};

use rustix::{
    mount::{MountFlags, MountPropagationFlags, mount, mount_change},
    thread::{UnshareFlags, unshare_unsafe},
};

use crate::{
    LoaderError,
    load::{joined, spawn},
};

/// Its mount point (Documentation/trace/ftrace.rst), and its mount point before Linux 4.1.
const MOUNT_POINTS: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];

/// Runs `work`, which looks up trace events by name.
///
/// # Errors
/// [`LoaderError::Tracefs`], and the errors of `work`.
pub(crate) fn with<T: Send>(
    work: impl FnOnce() -> Result<T, LoaderError> + Send,
) -> Result<T, LoaderError> {
    if MOUNT_POINTS.iter().any(|point| Path::new(point).join("events").is_dir()) {
        return work();
    }
    std::thread::scope(|scope| {
        let thread = spawn(scope, || {
            mount_here().map_err(|error| LoaderError::Tracefs { reason: error.to_string() })?;
            work()
        })?;
        joined(thread)
    })
}

/// Mounts tracefs in a new mount namespace of the calling thread. The namespace ends with the thread.
fn mount_here() -> io::Result<()> {
    // SAFETY: file descriptors stay shared. Only mounts and the working directory become this thread's own.
    unsafe { unshare_unsafe(UnshareFlags::NEWNS) }?;
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    mount("tracefs", MOUNT_POINTS[0], "tracefs", MountFlags::empty(), None)?;
    Ok(())
}
