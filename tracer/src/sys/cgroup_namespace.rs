//! The machine's cgroup namespace (`cgroup_namespaces(7)`). A pod with the machine's pids has one of its own nevertheless:
//! there, paths in `/proc/PID/cgroup` begin at the pod's cgroup, such as `/../../pod7/0123`.

use std::{fs, io, os::fd::AsFd as _, path::PathBuf};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Inode number of the initial cgroup namespace (`PROC_CGROUP_INIT_INO`, `include/linux/proc_ns.h`).
const INITIAL: &str = "cgroup:[4026531835]";

/// Enters the machine's cgroup namespace, if this process is in another one: that of pid 1. Some sandboxes hide pid 1 also
/// from root; there it is that of the kernel's threads, of which the first has pid 2. Only the calling thread does, and
/// threads and processes that it starts later.
///
/// # Errors
/// An error if the kernel does not allow it: `setns(2)` needs `CAP_SYS_ADMIN`.
pub(crate) fn enter_machines() -> io::Result<()> {
    let link = |process: &str| {
        let path = PathBuf::from(format!("/proc/{process}/ns/cgroup"));
        fs::read_link(&path).map(|name| (path, name))
    };
    let kernels = || link("2").ok().filter(|(_, name)| name.as_os_str() == INITIAL);
    let Some((path, name)) = link("1").ok().or_else(kernels) else { return Ok(()) };
    if link("self")?.1 != name {
        let namespace = fs::File::open(path)?;
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::ControlGroup))?;
    }
    Ok(())
}
