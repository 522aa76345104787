//! A pid that is used twice.

use anyhow::{Result, ensure};

use crate::{ledger::Ledger, process};

/// One child writes and ends; the next one has its pid, and writes something else.
pub(crate) fn pid(ledger: &mut Ledger) -> Result<()> {
    let first = process::fork(ledger, |own| own.write(1, 1001))?;
    process::wait_success(first)?;
    let second = process::fork_as(first, ledger, |own| {
        own.write(1, 22)?;
        own.write(2, 333)
    })?;
    ensure!(second == first, "pid {first} was asked for, {second} was given");
    process::wait_success(second)?;
    ledger.write(1, 5)
}
