//! The file system in which the kernel publishes its trace events. Nearly every system has it mounted;
//! where it is not, it is mounted for one thread alone, so that nobody else sees a change.

use std::{io, path::Path};

use rustix::{
    mount::{MountFlags, MountPropagationFlags, mount, mount_change},
    thread::{UnshareFlags, unshare_unsafe},
};

use crate::LoaderError;

/// Where it belongs (Documentation/trace/ftrace.rst), and where it was before Linux 4.1.
const PLACES: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];

/// Does something for which trace events must be reachable by their names.
///
/// # Errors
/// [`LoaderError::Tracefs`], and those of `work`.
pub(crate) fn with<T: Send>(
    work: impl FnOnce() -> Result<T, LoaderError> + Send,
) -> Result<T, LoaderError> {
    if PLACES.iter().any(|place| Path::new(place).join("events").is_dir()) {
        return work();
    }
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            mount_here().map_err(|error| LoaderError::Tracefs { reason: error.to_string() })?;
            work()
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Mounts it for the calling thread, in a mount namespace of its own that ends with the thread.
fn mount_here() -> io::Result<()> {
    // SAFETY: fds stay shared; only mounts and the working directory become this thread's own.
    unsafe { unshare_unsafe(UnshareFlags::NEWNS) }?;
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    mount("tracefs", PLACES[0], "tracefs", MountFlags::empty(), None)?;
    Ok(())
}
