//! Resolves what the user named to what the eBPF programs can match.
//!
//! A name (pid, cgroup path, container) becomes processes that are pinned by pidfd, or a cgroup id. Nothing here
//! attaches, follows descendants or prints.

pub mod cgroup;
pub mod container;
mod error;
pub mod hierarchy;
#[cfg(test)]
pub(crate) mod machine;
pub mod process;

use std::path::PathBuf;

pub use cgroup::CgroupTarget;
pub use error::TargetError;
pub use hierarchy::Hierarchy;
pub use process::PinnedProcess;

/// The target as the user named it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Processes by id, each with its descendants.
    Pids(Vec<u32>),
    /// A cgroup directory, absolute or relative to the root of the cgroup hierarchy.
    Cgroup(PathBuf),
    /// A container by its name, its id, or the beginning of its id.
    Container(String),
}

/// What the eBPF programs match.
#[derive(Debug)]
pub enum Target {
    /// These processes and their descendants.
    Processes(Vec<PinnedProcess>),
    /// All processes in this cgroup or below it.
    Cgroup(CgroupTarget),
}

/// The directories that are read. Tests use their own.
#[derive(Clone, Debug)]
pub struct Roots {
    /// procfs, normally `/proc`.
    pub proc: PathBuf,
    /// Where the cgroup hierarchies are mounted, normally `/sys/fs/cgroup`.
    pub cgroup: PathBuf,
    /// Run-time state and sockets of container engines, normally `/run`.
    pub run: PathBuf,
    /// Persistent state of container engines, normally `/var/lib`.
    pub var_lib: PathBuf,
    /// The value of `DOCKER_HOST`, if set.
    pub docker_host: Option<String>,
    /// The uid that is believed: root's.
    pub root_uid: u32,
}

impl Roots {
    /// The directories of the machine that this process runs on.
    pub fn host() -> Self {
        Self {
            proc: PathBuf::from("/proc"),
            cgroup: PathBuf::from("/sys/fs/cgroup"),
            run: PathBuf::from("/run"),
            var_lib: PathBuf::from("/var/lib"),
            docker_host: std::env::var("DOCKER_HOST").ok().filter(|host| !host.is_empty()),
            root_uid: 0,
        }
    }
}

/// Finds the target on this machine.
///
/// # Errors
///
/// A [`TargetError`] with what was looked for, and what to do about it.
pub fn resolve(request: &Request) -> Result<Target, TargetError> {
    resolve_in(&Roots::host(), request)
}

/// Finds the target below the given directories.
///
/// # Errors
///
/// As [`resolve`].
pub fn resolve_in(roots: &Roots, request: &Request) -> Result<Target, TargetError> {
    match request {
        Request::Pids(pids) => process::pin_all(roots, pids).map(Target::Processes),
        Request::Cgroup(path) => cgroup::resolve(roots, path).map(Target::Cgroup),
        Request::Container(name) => container::resolve(roots, name).map(Target::Cgroup),
    }
}
