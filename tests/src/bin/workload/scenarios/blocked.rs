//! Workloads that have started before tracer attaches.

use anyhow::{Context, Result};
use tracer_tests::gate;

use crate::ledger::Ledger;

/// Blocks in a write until its output is read, then writes more after the gate.
pub(crate) fn at_attach(ledger: &mut Ledger) -> Result<()> {
    crate::paths::find("write").context("no path")?(ledger, 1, &[200_003])?;
    gate::wait()?;
    ledger.write(1, 91)?;
    ledger.write(2, 92)
}

/// Writes before and after the gate. The writes before the gate are not counted.
pub(crate) fn before_and_after(ledger: &mut Ledger) -> Result<()> {
    let mut uncounted = ledger.fresh()?;
    uncounted.write(1, 12_345)?;
    uncounted.write(2, 54)?;
    // Tells the test that the first part is over.
    ledger.publish()?;
    gate::wait()?;
    ledger.write(1, 777)?;
    ledger.write(2, 55)
}

/// Writes, publishes its counts, and lives until it is killed.
pub(crate) fn linger(ledger: &mut Ledger) -> Result<()> {
    gate::wait()?;
    ledger.write(1, 101)?;
    ledger.write(2, 102)?;
    ledger.publish()?;
    loop {
        // SAFETY: takes no pointer.
        unsafe { libc::pause() };
    }
}
