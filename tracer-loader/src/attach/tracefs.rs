//! tracefs, in which the kernel publishes its trace events. Nearly every system has it mounted.

use std::path::Path;

use crate::{LoaderError, thread::private_mount};

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
    let failed = |error: std::io::Error| LoaderError::Tracefs { reason: error.to_string() };
    private_mount::with("tracefs", MOUNT_POINTS[0], failed, work)
}
