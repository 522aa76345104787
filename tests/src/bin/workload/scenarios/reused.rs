//! A reused pid.

use anyhow::{Result, ensure};

use crate::{ledger::Ledger, process};

/// A child writes and ends; the next child gets its pid and writes other sizes.
pub(crate) fn pid(ledger: &mut Ledger) -> Result<()> {
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
