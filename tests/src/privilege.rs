//! What the privileged tests need, said before they fail in some stranger way.

use anyhow::{Result, bail};

/// Whether this process is root.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Fails with the cure in the message unless this process is root.
pub fn require_root() -> Result<()> {
    if !is_root() {
        bail!("this test loads eBPF programs: run it as root");
    }
    Ok(())
}
