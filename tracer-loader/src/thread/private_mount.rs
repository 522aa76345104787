//! A file system of the kernel that is mounted for one thread, in a mount namespace of its own, so that other processes see
//! no change.

use std::io;

use rustix::{
    mount::{MountFlags, MountPropagationFlags, mount, mount_change},
    thread::{UnshareFlags, unshare_unsafe},
};

use super::{joined, spawn};
use crate::LoaderError;

/// Runs `work` in a thread that has a file system of this kind at `point`.
///
/// # Errors
/// `failed` if it cannot be mounted, and the errors of `work`.
pub(crate) fn with<T: Send>(
    kind: &str,
    point: &str,
    failed: impl FnOnce(io::Error) -> LoaderError + Send,
    work: impl FnOnce() -> Result<T, LoaderError> + Send,
) -> Result<T, LoaderError> {
    std::thread::scope(|scope| {
        let thread = spawn(scope, || {
            mount_here(kind, point).map_err(failed)?;
            work()
        })?;
        joined(thread)
    })
}

/// Mounts it in a new mount namespace of the calling thread. The namespace ends with the thread.
fn mount_here(kind: &str, point: &str) -> io::Result<()> {
    // SAFETY: file descriptors stay shared. Only mounts and the working directory become this thread's own.
    unsafe { unshare_unsafe(UnshareFlags::NEWNS) }?;
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    mount(kind, point, kind, MountFlags::empty(), None)?;
    Ok(())
}
