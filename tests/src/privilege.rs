//! Checks for root before a test fails with a less helpful error.

use anyhow::{Result, bail};

/// Whether this process is root.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Fails unless this process is root.
pub fn require_root() -> Result<()> {
    if !is_root() {
        bail!("this test loads eBPF programs: run it as root");
    }
    Ok(())
}
