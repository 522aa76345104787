//! The BPF programs, maps and links of a process, and which of them still exist. They are identified
//! by id, because other tracers that run at the same time use the same names.

use std::fs;

use anyhow::{Context as _, Result, ensure};

/// Key in `fdinfo` and the `bpf(2)` command that gets an fd by id (`include/uapi/linux/bpf.h`).
const KINDS: [(&str, libc::c_long); 3] = [("prog_id:", 13), ("map_id:", 14), ("link_id:", 30)];

/// The BPF objects that a process has open: kind, `bpf(2)` command and id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelObjects(Vec<(&'static str, libc::c_long, u32)>);

impl KernelObjects {
    /// Reads `/proc/PID/fdinfo`.
    pub fn of(pid: u32) -> Result<Self> {
        let directory = format!("/proc/{pid}/fdinfo");
        let mut found = Vec::new();
        let entries =
            fs::read_dir(&directory).with_context(|| format!("cannot list {directory}"))?;
        for info in entries.flatten().filter_map(|entry| fs::read_to_string(entry.path()).ok()) {
            for (name, command) in KINDS {
                let line = info.lines().find_map(|line| line.strip_prefix(name));
                // The entry of a link also names its program, which can be in the list already.
                if let Some(id) = line.and_then(|text| text.trim().parse().ok()) {
                    found.push((name, command, id));
                }
            }
        }
        found.sort_unstable();
        found.dedup();
        Ok(Self(found))
    }

    /// Number of objects of a kind: `prog_id:`, `map_id:` or `link_id:`.
    pub fn count(&self, kind: &str) -> usize {
        self.0.iter().filter(|(name, ..)| *name == kind).count()
    }

    /// Objects that still exist in the kernel.
    pub fn left(&self) -> Result<Vec<String>> {
        let mut left = Vec::new();
        for (name, command, id) in &self.0 {
            if exists(*command, *id)? {
                left.push(format!("{name} {id}"));
            }
        }
        Ok(left)
    }
}

fn exists(command: libc::c_long, id: u32) -> Result<bool> {
    // Start of `union bpf_attr`: the id, `next_id` (unused here) and `open_flags`.
    let attributes = [id, 0, 0];
    let size = size_of_val(&attributes);
    // SAFETY: the attributes are valid for their size; the kernel only reads them.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, command, attributes.as_ptr(), size) };
    if fd >= 0 {
        // SAFETY: the call above opened this fd, and nothing else uses it.
        unsafe { libc::close(libc::c_int::try_from(fd)?) };
        return Ok(true);
    }
    let error = std::io::Error::last_os_error();
    ensure!(error.raw_os_error() == Some(libc::ENOENT), "bpf({command}) of {id}: {error}");
    Ok(false)
}
