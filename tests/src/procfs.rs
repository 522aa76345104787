//! What the tests read from `/proc`.

use std::{fs, os::fd::RawFd, time::Duration};

use anyhow::{Context, Result};

/// Name of the object behind an fd of this process, as the kernel prints it: `pipe:[88123]`.
pub fn object_of(fd: RawFd) -> Option<String> {
    let link = fs::read_link(format!("/proc/self/fd/{fd}")).ok()?;
    Some(link.to_string_lossy().into_owned())
}

/// This process's pid in the namespace of the `/proc` mount.
pub fn own_pid() -> Result<u32> {
    let link = fs::read_link("/proc/self").context("/proc is not mounted")?;
    link.to_string_lossy().parse().context("/proc/self is not a pid")
}

/// The pid of a child of this process in the namespace of the `/proc` mount.
pub fn outer_pid_of_child(child: u32) -> Result<u32> {
    let own = own_pid()?;
    if own == std::process::id() {
        return Ok(child);
    }
    let mut children = children_of(own)?.into_iter();
    children
        .find(|pid| status_of(*pid, "NSpid:").and_then(|text| text.parse().ok()) == Some(child))
        .with_context(|| format!("process {own} has no child {child} in /proc"))
}

/// Pids of the children of a process.
pub fn children_of(parent: u32) -> Result<Vec<u32>> {
    let pids = pids()?.into_iter();
    let is_child = |pid: &u32| status_of(*pid, "PPid:").is_some_and(|of| of == parent.to_string());
    Ok(pids.filter(is_child).collect())
}

/// Pids of the commands that tracer has started: its children except its helper processes.
pub fn commands_of(tracer: u32) -> Result<Vec<u32>> {
    let is_helper =
        |pid: &u32| status_of(*pid, "Name:").is_some_and(|name| name == "tracer-helper");
    Ok(children_of(tracer)?.into_iter().filter(|pid| !is_helper(pid)).collect())
}

/// Pid of the parent of a process.
pub fn parent_of(pid: u32) -> Result<u32> {
    let parent = status_of(pid, "PPid:").with_context(|| format!("process {pid} is gone"))?;
    parent.parse().with_context(|| format!("process {pid} has the parent {parent}"))
}

/// Pids of the processes with this name (`comm`).
pub fn named(comm: &str) -> Result<Vec<u32>> {
    let pids = pids()?.into_iter();
    Ok(pids.filter(|pid| status_of(*pid, "Name:").is_some_and(|name| name == comm)).collect())
}

fn pids() -> Result<Vec<u32>> {
    let entries = fs::read_dir("/proc")?.map_while(|entry| entry.ok());
    Ok(entries.filter_map(|entry| entry.file_name().to_string_lossy().parse().ok()).collect())
}

/// The last word of a line in a process's status; `None` if the process is gone.
fn status_of(pid: u32, line: &str) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let found = status.lines().find(|candidate| candidate.starts_with(line))?;
    found.split_whitespace().last().map(str::to_owned)
}

/// Whether a process is blocked in `write` to this fd.
pub fn is_blocked_in_write(pid: u32, fd: i32) -> bool {
    is_blocked_in(pid, libc::SYS_write, fd)
}

/// Whether a process is blocked in a system call whose first argument is this fd.
pub fn is_blocked_in(pid: u32, call: libc::c_long, fd: i32) -> bool {
    // Contains `running`, or for a blocked process the call's number and its arguments in hex.
    fs::read_to_string(format!("/proc/{pid}/syscall"))
        .is_ok_and(|line| line.starts_with(&format!("{call} {fd:#x} ")))
}

/// Name of the object behind an fd of another process, as in [`object_of`].
pub fn target_of(pid: u32, fd: RawFd) -> Result<String> {
    let link = fs::read_link(format!("/proc/{pid}/fd/{fd}"));
    let link = link.with_context(|| format!("fd {fd} of process {pid}"))?;
    Ok(link.to_string_lossy().into_owned())
}

/// The most memory that a process has had, in bytes; `None` if it has ended.
pub fn memory_peak(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(peak.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
}

/// Processor time of all threads of a process; `None` if it has ended.
pub fn cpu_time(pid: u32) -> Option<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // utime and stime, fields 14 and 15 (`proc_pid_stat(5)`), in steps of 10 ms (`USER_HZ`).
    let mut fields = stat.rsplit_once(") ")?.1.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    Some(Duration::from_millis(10 * (ticks()? + ticks()?)))
}
