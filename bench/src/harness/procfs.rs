//! Figures of processes from files of `/proc`.

use std::fs;

use anyhow::{Context as _, Result};

/// What follows a name at the start of a line, as files of `/proc` have it.
pub(crate) fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim)
}

/// The sum of `memlock:` over the maps that a process holds.
pub(crate) fn map_memory(pid: u32) -> Result<u64> {
    let directory = format!("/proc/{pid}/fdinfo");
    let fds = fs::read_dir(&directory).with_context(|| format!("cannot list {directory}"))?;
    let infos = fds.flatten().filter_map(|fd| fs::read_to_string(fd.path()).ok());
    Ok(infos.filter_map(|info| map_bytes(&info)).sum())
}

/// `memlock:` of a map's fdinfo; programs have it too, and are no maps.
fn map_bytes(info: &str) -> Option<u64> {
    field(info, "map_type:")?;
    field(info, "memlock:")?.parse().ok()
}

/// A line of `/proc/PID/status` in bytes.
pub(crate) fn status(pid: u32, name: &str) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    Some(kilobytes(&text, name)? * 1024)
}

/// The number of a line `NAME 123 kB`.
pub(crate) fn kilobytes(text: &str, name: &str) -> Option<u64> {
    field(text, name)?.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_of_maps_is_theirs_alone() {
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
