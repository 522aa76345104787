//! Pids that are ambiguous: reused, or of another namespace.

use std::ffi::c_long;

use anyhow::{Result, ensure};

use crate::{
    ledger::Ledger,
    process,
    sys::{self, Unsupported},
};

/// Forks a child that is pid 1 of a new pid namespace and has a child itself.
pub(crate) fn new_namespace(ledger: &mut Ledger) -> Result<()> {
    ledger.write(1, 71)?;
    // SAFETY: takes no pointer; affects the children of this process only.
    let unshared = c_long::from(unsafe { libc::unshare(libc::CLONE_NEWPID) });
    sys::outcome(unshared)
        .map_err(|errno| Unsupported(format!("no new pid namespace: errno {errno}")))?;
    let first = process::fork(ledger, |own| {
        own.write(1, 7001)?;
        let second = process::fork(own, |own| {
            own.write(1, 702)?;
            own.write(2, 73)
        })?;
        process::wait_success(second)
    })?;
    process::wait_success(first)?;
    ledger.write(2, 74)
}

/// A child writes and ends; the next child gets its pid and writes other sizes.
pub(crate) fn reused(ledger: &mut Ledger) -> Result<()> {
    let first = process::fork(ledger, |own| own.write(1, 1001))?;
    process::wait_success(first)?;
    let second = process::fork_as(first, ledger, |own| {
        own.write(1, 22)?;
        own.write(2, 333)
    })?;
    ensure!(second == first, "requested pid {first}, got {second}");
    process::wait_success(second)?;
    ledger.write(1, 5)
}
