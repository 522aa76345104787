//! Privileges: the check for root, and those of a thread, from its status in `/proc`.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};

/// Fails unless this process is root.
pub fn require_root() -> Result<()> {
    let is_root = rustix::process::geteuid().is_root();
    ensure!(is_root, "this test loads eBPF programs: run it as root");
    Ok(())
}

/// Capability bit (`capabilities(7)`): read any file and search any directory.
pub const DAC_READ_SEARCH: u64 = 1 << 2;
/// Capability bit: send signals to any process.
pub const KILL: u64 = 1 << 5;
/// Capability bit: inspect any process.
pub const SYS_PTRACE: u64 = 1 << 19;
/// Capability bit: use eBPF.
pub const BPF: u64 = 1 << 39;
/// The empty capability set, as printed in a status.
pub const NONE: &str = "0000000000000000";

/// The lines of a status about privileges: name and value.
pub fn privileges(status: &str) -> BTreeMap<&str, String> {
    let wanted = ["Cap", "NoNewPrivs", "Seccomp", "Uid", "Gid", "Groups"];
    let lines = status.lines().filter_map(|line| line.split_once(':'));
    let is_wanted = |name: &str| wanted.iter().any(|wanted| name.starts_with(wanted));
    let words = |rest: &str| rest.split_whitespace().collect::<Vec<_>>().join(" ");
    lines.filter(|line| is_wanted(line.0)).map(|(name, rest)| (name, words(rest))).collect()
}

/// Checks that a thread has exactly these capabilities and cannot gain others.
pub fn has_only(status: &str, capabilities: u64) -> Result<()> {
    let kept = format!("{capabilities:016x}");
    has(status, &[("CapEff", &kept), ("CapPrm", &kept), ("CapBnd", NONE), ("NoNewPrivs", "1")])?;
    has(status, &[("CapInh", NONE), ("CapAmb", NONE)])
}

/// Checks that a status has these values, by name.
pub fn has(status: &str, expected: &[(&str, &str)]) -> Result<()> {
    let found = privileges(status);
    for (name, expected) in expected {
        let is_so = found.get(name).is_some_and(|found| found == expected);
        ensure!(is_so, "{name} is not {expected}: {found:?}");
    }
    Ok(())
}
