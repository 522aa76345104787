//! The few things the tests read from `/proc`.

use std::{fs, os::fd::RawFd};

use anyhow::{Context, Result};

/// What an open fd of this process refers to, worded as the kernel words it: `pipe:[88123]`.
pub fn object_of(fd: RawFd) -> Option<String> {
    let link = fs::read_link(format!("/proc/self/fd/{fd}")).ok()?;
    Some(link.to_string_lossy().into_owned())
}

/// This process's pid in the namespace `/proc` was mounted for.
pub fn own_pid() -> Result<u32> {
    let link = fs::read_link("/proc/self").context("/proc is not mounted")?;
    link.to_string_lossy().parse().context("/proc/self names no pid")
}

/// Whether a process is asleep inside `write` to this fd (x86-64).
pub fn is_blocked_in_write(pid: u32, fd: i32) -> bool {
    // Says `running` unless the process sleeps; then number and arguments, in hexadecimal.
    fs::read_to_string(format!("/proc/{pid}/syscall"))
        .is_ok_and(|line| line.starts_with(&format!("{} {fd:#x} ", libc::SYS_write)))
}
