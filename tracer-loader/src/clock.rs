//! The clock of the kernel's time stamps.

use std::{fs, path::Path, sync::OnceLock};

use rustix::time::{ClockId, clock_gettime};

use crate::LoaderError;

/// Inode number of the initial time namespace (`PROC_TIME_INIT_INO`, `include/linux/proc_ns.h`).
const INITIAL: &str = "time:[4026531834]";
const SECOND: i128 = 1_000_000_000;

/// What this process's time namespace adds to `CLOCK_BOOTTIME`, nanoseconds.
static OFFSET: OnceLock<i128> = OnceLock::new();

/// Nanoseconds since boot, as in `task_struct.start_boottime` and in the events of the eBPF programs, whatever time
/// namespace this process is in.
#[must_use]
pub fn boot_ns() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    let here = i128::from(now.tv_sec) * SECOND + i128::from(now.tv_nsec);
    u64::try_from(here - OFFSET.get().copied().unwrap_or(0)).unwrap_or(0)
}

/// Finds the offset of this process's time namespace.
///
/// # Errors
/// [`LoaderError::TimeNamespace`] if procfs does not tell it.
pub(crate) fn find_offset() -> Result<(), LoaderError> {
    let offset = offset_in(Path::new("/proc/self")).ok_or(LoaderError::TimeNamespace)?;
    let _ = OFFSET.set(offset);
    Ok(())
}

/// The offset of a process. `timens_offsets` (`time_namespaces(7)`) has those of its children's namespace, which is its
/// own after `execve(2)`, but on older kernels only after `fork(2)`.
fn offset_in(process: &Path) -> Option<i128> {
    let namespace = |kind: &str| fs::read_link(process.join("ns").join(kind)).ok();
    // Kernels before 5.6, and those built without time namespaces, have neither file.
    let Some(own) = namespace("time") else { return Some(0) };
    if own == Path::new(INITIAL) {
        return Some(0);
    }
    if namespace("time_for_children")? != own {
        return None;
    }
    boottime_of(&fs::read_to_string(process.join("timens_offsets")).ok()?)
}

/// The line `boottime SECONDS NANOSECONDS`. Older kernels write the clock's number, 7.
fn boottime_of(offsets: &str) -> Option<i128> {
    offsets.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        words.next().filter(|clock| matches!(*clock, "boottime" | "7"))?;
        let seconds: i128 = words.next()?.parse().ok()?;
        let nanoseconds: i128 = words.next()?.parse().ok()?;
        Some(seconds * SECOND + nanoseconds)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_the_offsets_are_read() {
        let text = "monotonic           5         0\nboottime     -86400 500000000\n";
        assert_eq!(boottime_of(text), Some(-86_400 * SECOND + 500_000_000));
        assert_eq!(boottime_of("1 5 0\n7 60 1\n"), Some(60 * SECOND + 1));
        assert_eq!(boottime_of("monotonic 5 0\n"), None);
    }

    #[test]
    fn this_process_knows_its_offset() {
        assert!(offset_in(Path::new("/proc/self")).is_some());
    }
}
