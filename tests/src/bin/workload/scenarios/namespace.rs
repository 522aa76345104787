//! Processes in another pid namespace.

use std::ffi::c_long;

use anyhow::Result;

use crate::{
    ledger::Ledger,
    process,
    sys::{self, Unsupported},
};

/// Forks a child that is pid 1 of a new pid namespace and has a child itself.
pub(crate) fn new_pid_namespace(ledger: &mut Ledger) -> Result<()> {
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
