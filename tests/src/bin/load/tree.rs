//! Child processes.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
};

use anyhow::{Context, Result, ensure};

/// A child that must be waited for.
#[derive(Debug)]
#[must_use]
pub(crate) struct Child(libc::pid_t);

impl Child {
    /// Waits until it ends, which must be with success.
    pub(crate) fn wait(self) -> Result<()> {
        let mut status = 0;
        // SAFETY: `status` is valid for the call.
        let waited = unsafe { libc::waitpid(self.0, &raw mut status, 0) };
        ensure!(waited == self.0, "waitpid: {}", io::Error::last_os_error());
        ensure!(status == 0, "a child ended with wait status {status:#x}");
        Ok(())
    }
}

/// Forks a child that runs `task` and exits. The child is killed when this process dies.
pub(crate) fn fork(task: impl FnOnce() -> Result<()>) -> Result<Child> {
    // SAFETY: no loop has other threads when it forks, so the child may run ordinary code.
    let pid = unsafe { libc::fork() };
    ensure!(pid >= 0, "fork: {}", io::Error::last_os_error());
    if pid > 0 {
        return Ok(Child(pid));
    }
    // SAFETY: takes no pointer.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
    let done = catch_unwind(AssertUnwindSafe(|| {
        task().inspect_err(|error| eprintln!("load: child: {error:#}"))
    }));
    let code = if matches!(done, Ok(Ok(()))) { 0 } else { 1 };
    // SAFETY: ends the child without running destructors inherited from the parent.
    unsafe { libc::_exit(code) }
}

/// Sleeping children, killed when this is dropped.
pub(crate) struct Sleepers(Vec<Child>);

/// Starts this many sleeping children.
pub(crate) fn sleepers(count: u32) -> Result<Sleepers> {
    let mut tree = Sleepers(Vec::new());
    for number in 0..count {
        let sleeper = fork(|| {
            loop {
                // SAFETY: takes no pointer.
                unsafe { libc::pause() };
            }
        })
        .with_context(|| format!("after {number} sleepers"))?;
        tree.0.push(sleeper);
    }
    Ok(tree)
}

impl Sleepers {
    /// Number of sleepers.
    pub(crate) fn len(&self) -> u64 {
        self.0.len() as u64
    }
}

impl Drop for Sleepers {
    fn drop(&mut self) {
        for Child(pid) in &self.0 {
            // SAFETY: takes no pointer; the pid is a child that was not waited for yet.
            unsafe { libc::kill(*pid, libc::SIGKILL) };
        }
        for Child(pid) in &self.0 {
            let mut status = 0;
            // SAFETY: `status` is valid for the call.
            unsafe { libc::waitpid(*pid, &raw mut status, 0) };
        }
    }
}
