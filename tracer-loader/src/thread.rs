//! Threads that end within a scope.

#[allow(unsafe_code, reason = "a thread of its own gets another view of the file system")]
pub(crate) mod private_mount;

use std::thread::{Builder, Scope, ScopedJoinHandle};

use crate::LoaderError;

/// Starts a thread that ends within the scope.
///
/// # Errors
/// [`LoaderError::Thread`].
pub(crate) fn spawn<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    work: impl FnOnce() -> T + Send + 'scope,
) -> Result<ScopedJoinHandle<'scope, T>, LoaderError> {
    Builder::new().spawn_scoped(scope, work).map_err(|source| LoaderError::Thread { source })
}

/// Waits for the thread. A panic of the thread goes on in the caller.
pub(crate) fn joined<T>(thread: ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
