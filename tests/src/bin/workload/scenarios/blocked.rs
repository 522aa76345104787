//! Workloads a tracer meets in the middle.

use anyhow::{Context, Result};
use tracer_tests::gate;

use crate::ledger::Ledger;

/// Sleeps in a write from the start, until somebody reads; goes on after the gate.
pub(crate) fn at_attach(ledger: &mut Ledger) -> Result<()> {
    crate::paths::find("write").context("no path")?(ledger, 1, &[200_003])?;
    gate::wait()?;
    ledger.write(1, 91)?;
    ledger.write(2, 92)
}

/// Writes before the gate are not booked: no tracer was there to count them.
pub(crate) fn before_and_after(ledger: &mut Ledger) -> Result<()> {
    let mut unseen = ledger.fresh()?;
    unseen.write(1, 12_345)?;
    unseen.write(2, 54)?;
    // Says that the first part is over.
    ledger.publish()?;
    gate::wait()?;
    ledger.write(1, 777)?;
    ledger.write(2, 55)
}

/// Writes, publishes, and then stays until it is killed.
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
