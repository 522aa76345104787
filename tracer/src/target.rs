//! Turns what the user named into what the kernel side can match on.
//!
//! A name (pid, cgroup path, container) goes in; processes pinned by pidfd or a cgroup id come out.
//! Nothing here attaches, follows descendants or prints.

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

/// What was typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Processes by id, each with its descendants.
    Pids(Vec<u32>),
    /// A cgroup directory, absolute or relative to the root of the cgroup hierarchy.
    Cgroup(PathBuf),
    /// A container by name, id or beginning of its id.
    Container(String),
}

/// What the kernel side matches on.
#[derive(Debug)]
pub enum Target {
    /// These processes and what descends from them.
    Processes(Vec<PinnedProcess>),
    /// Whatever runs in this cgroup or below it.
    Cgroup(CgroupTarget),
}

/// The directories that are read, so that tests can lay out their own machine.
#[derive(Clone, Debug)]
pub struct Roots {
    /// procfs, normally `/proc`.
    pub proc: PathBuf,
    /// Where the cgroup hierarchies are mounted, normally `/sys/fs/cgroup`.
    pub cgroup: PathBuf,
    /// Runtime state and sockets of the container engines, normally `/run`.
    pub run: PathBuf,
    /// Persistent state of the container engines, normally `/var/lib`.
    pub var_lib: PathBuf,
    /// The value of `DOCKER_HOST`, if set.
    pub docker_host: Option<String>,
}

impl Roots {
    /// The directories of the machine this runs on.
    pub fn host() -> Self {
        Self {
            proc: PathBuf::from("/proc"),
            cgroup: PathBuf::from("/sys/fs/cgroup"),
            run: PathBuf::from("/run"),
            var_lib: PathBuf::from("/var/lib"),
            docker_host: std::env::var("DOCKER_HOST").ok().filter(|host| !host.is_empty()),
        }
    }
}

/// Finds what was named on this machine.
///
/// # Errors
///
/// Each [`TargetError`] names what was looked for and what to do about it.
pub fn resolve(request: &Request) -> Result<Target, TargetError> {
    resolve_in(&Roots::host(), request)
}

/// Finds what was named below the given directories.
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
