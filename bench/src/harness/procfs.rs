//! Parses files of `/proc` about a process.

use std::fs;

use anyhow::{Context as _, Result};

/// The value of the first line that begins with `name`.
pub(crate) fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim)
}

/// Memory of the eBPF maps that a process has open, in bytes: the sum of `memlock:`.
pub(crate) fn map_memory(pid: u32) -> Result<u64> {
    Ok(fdinfos(pid)?.filter_map(|info| map_bytes(&info)).sum())
}

/// The content of `/proc/PID/fdinfo/FD` for each open fd.
pub(crate) fn fdinfos(pid: u32) -> Result<impl Iterator<Item = String>> {
    let directory = format!("/proc/{pid}/fdinfo");
    let fds = fs::read_dir(&directory).with_context(|| format!("cannot list {directory}"))?;
    Ok(fds.flatten().filter_map(|fd| fs::read_to_string(fd.path()).ok()))
}

/// `memlock:` of a map's fdinfo; `None` for programs, which have that line too.
fn map_bytes(info: &str) -> Option<u64> {
    field(info, "map_type:")?;
    field(info, "memlock:")?.parse().ok()
}

/// A size in `/proc/PID/status`, in bytes.
pub(crate) fn status(pid: u32, name: &str) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    Some(kilobytes(&text, name)? * 1024)
}

/// The number in a line `NAME 123 kB`.
pub(crate) fn kilobytes(text: &str, name: &str) -> Option<u64> {
    field(text, name)?.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_of_programs_does_not_count_as_memory_of_maps() {
        assert_eq!(map_bytes("map_type:\t1\nkey_size:\t4\nmemlock:\t4096\n"), Some(4096));
        assert_eq!(map_bytes("prog_type:\t26\nmemlock:\t8192\n"), None);
        assert_eq!(map_bytes("pos:\t0\n"), None);
    }

    #[test]
    fn sizes_are_read_by_their_whole_name() {
        let text = "VmPeak:\t 9 kB\nVmHWM:\t   22436 kB\nVmRSS:\t   20000 kB\n";
        assert_eq!(kilobytes(text, "VmHWM:"), Some(22436));
        assert_eq!(kilobytes(text, "VmSwap:"), None);
    }
}
