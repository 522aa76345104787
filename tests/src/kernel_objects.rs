//! Programs, maps and links that a process has in the kernel, by their numbers, and whether they are there
//! still. Other tracers may run at the same time: names would tell nothing.

use std::fs;

use anyhow::{Context as _, Result, ensure};

/// Commands of `bpf(2)` that ask for an object by its number (`include/uapi/linux/bpf.h`).
const KINDS: [(&str, libc::c_long); 3] = [("prog_id:", 13), ("map_id:", 14), ("link_id:", 30)];

/// What one process holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelObjects(Vec<(&'static str, libc::c_long, u32)>);

impl KernelObjects {
    /// Looks through the open files of a process.
    pub fn of(pid: u32) -> Result<Self> {
        let directory = format!("/proc/{pid}/fdinfo");
        let mut found = Vec::new();
        let entries =
            fs::read_dir(&directory).with_context(|| format!("cannot list {directory}"))?;
        for info in entries.flatten().filter_map(|entry| fs::read_to_string(entry.path()).ok()) {
            for (name, command) in KINDS {
                let line = info.lines().find_map(|line| line.strip_prefix(name));
                // A link's lines name its program as well, which is held once more.
                if let Some(number) = line.and_then(|text| text.trim().parse().ok()) {
                    found.push((name, command, number));
                }
            }
        }
        found.sort_unstable();
        found.dedup();
        Ok(Self(found))
    }

    /// How many of one kind: `prog_id:`, `map_id:`, `link_id:`.
    pub fn count(&self, kind: &str) -> usize {
        self.0.iter().filter(|(name, ..)| *name == kind).count()
    }

    /// Those that the kernel still has.
    pub fn left(&self) -> Result<Vec<String>> {
        let mut left = Vec::new();
        for (name, command, number) in &self.0 {
            if exists(*command, *number)? {
                left.push(format!("{name} {number}"));
            }
        }
        Ok(left)
    }
}

fn exists(command: libc::c_long, number: u32) -> Result<bool> {
    // The number, an unused one behind it, and flags.
    let attributes = [number, 0, 0];
    let size = size_of_val(&attributes);
    // SAFETY: the attributes are valid for their size; the kernel only reads them.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, command, attributes.as_ptr(), size) };
    if fd >= 0 {
        // SAFETY: the call has just opened it, and nobody else knows it.
        unsafe { libc::close(libc::c_int::try_from(fd)?) };
        return Ok(true);
    }
    let error = std::io::Error::last_os_error();
    ensure!(error.raw_os_error() == Some(libc::ENOENT), "bpf({command}) of {number}: {error}");
    Ok(false)
}
