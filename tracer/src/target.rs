//! Resolves what the user named to what the eBPF programs can match.
//!
//! A name (pid, process name, cgroup path, unit, container, pod) becomes processes that are pinned by pidfd, or cgroup
//! ids. Nothing here attaches, follows descendants or prints.

pub mod cgroup;
pub mod container;
mod error;
pub mod hierarchy;
#[cfg(test)]
pub(crate) mod machine;
pub mod name;
pub mod process;
pub mod unit;

use std::{collections::BTreeSet, fmt, path::PathBuf};

pub use cgroup::CgroupTarget;
pub use container::{place::ContainerPlace, pod::PodName};
pub use error::TargetError;
pub use hierarchy::Hierarchy;
pub use name::{CommandLines, NamePattern};
pub use process::PinnedProcess;

/// A target as the user named it.
#[derive(Clone, Debug)]
pub enum Request {
    /// A process by its id, with its descendants.
    Pid(u32),
    /// Running processes by their names, with their descendants.
    Name(NamePattern),
    /// A cgroup directory, absolute or relative to the root of the cgroup hierarchy.
    Cgroup(PathBuf),
    /// A unit of systemd; without a suffix, a service.
    Unit(String),
    /// A container by its name, its id, or the beginning of its id.
    Container(String),
    /// All containers of a Kubernetes pod.
    Pod(PodName),
}

impl Request {
    /// Whether it needs the command lines of processes: to match them, or to tell a sandbox.
    #[must_use]
    pub const fn needs_command_lines(&self) -> bool {
        matches!(self, Self::Name(NamePattern { is_full: true, .. }) | Self::Container(_))
    }

    /// Its kind in reports, which is its option on the command line without the dashes.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Pid(_) => "pid",
            Self::Name(_) => "name",
            Self::Cgroup(_) => "cgroup",
            Self::Unit(_) => "unit",
            Self::Container(_) => "container",
            Self::Pod(_) => "pod",
        }
    }
}

/// As on the command line.
impl fmt::Display for Request {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "--{} ", self.kind())?;
        match self {
            Self::Pid(pid) => pid.fmt(formatter),
            Self::Name(pattern) => pattern.fmt(formatter),
            Self::Cgroup(path) => path.display().fmt(formatter),
            Self::Unit(name) | Self::Container(name) => formatter.write_str(name),
            Self::Pod(pod) => pod.fmt(formatter),
        }
    }
}

/// What the eBPF programs match: all of it together.
#[derive(Debug, Default)]
pub struct Targets {
    /// These processes and their descendants.
    pub processes: Vec<PinnedProcess>,
    /// All processes in these cgroups or below them. All are in one hierarchy.
    pub cgroups: Vec<CgroupTarget>,
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
    /// Configuration of container engines, normally `/etc`.
    pub etc: PathBuf,
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
            etc: PathBuf::from("/etc"),
            docker_host: std::env::var("DOCKER_HOST").ok().filter(|host| !host.is_empty()),
            root_uid: 0,
        }
    }
}

/// Finds the targets on this machine. `lines` reads command lines for patterns that are to match them.
///
/// # Errors
///
/// A [`TargetError`] with what was looked for, and what to do about it.
pub fn resolve(
    requests: &[Request],
    lines: &mut Option<CommandLines>,
) -> Result<Targets, TargetError> {
    resolve_in(&Roots::host(), requests, lines)
}

/// Finds the targets below the given directories. What is named twice is in the result once.
///
/// # Errors
///
/// As [`resolve`].
pub fn resolve_in(
    roots: &Roots,
    requests: &[Request],
    lines: &mut Option<CommandLines>,
) -> Result<Targets, TargetError> {
    let mut targets = Targets::default();
    let mut pids = Vec::new();
    for request in requests {
        match request {
            Request::Pid(pid) => pids.push(*pid),
            Request::Name(pattern) => {
                targets.processes.extend(name::resolve(roots, pattern, lines)?);
            }
            Request::Cgroup(path) => targets.add(cgroup::resolve(roots, path)?)?,
            Request::Unit(name) => targets.add(unit::resolve(roots, name)?)?,
            Request::Container(name) => match container::resolve(roots, name) {
                // gVisor need not make a cgroup. All that runs in the sandbox belongs to the container or to its pod.
                Err(TargetError::ContainerWithoutCgroup { container, pid })
                    if name::sandbox_among(lines, &[pid], &container.id).is_some() =>
                {
                    pids.push(pid);
                }
                found => targets.add(found?)?,
            },
            Request::Pod(pod) => {
                let found = container::pod::resolve(roots, pod)?;
                found.into_iter().try_for_each(|cgroup| targets.add(cgroup))?;
            }
        }
    }
    targets.processes.extend(process::pin_all(roots, &pids)?);
    let mut is_new = BTreeSet::new();
    targets.processes.retain(|process| is_new.insert(process.pid));
    Ok(targets)
}

impl Targets {
    /// Adds a cgroup, unless it is there already.
    fn add(&mut self, cgroup: CgroupTarget) -> Result<(), TargetError> {
        if let Some(first) = self.cgroups.first()
            && first.hierarchy != cgroup.hierarchy
        {
            let places = [first, &cgroup].map(|one| (one.label.clone(), one.hierarchy.clone()));
            return Err(TargetError::TwoHierarchies { places: Box::new(places) });
        }
        if self.cgroups.iter().all(|known| known.id != cgroup.id) {
            self.cgroups.push(cgroup);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{machine::Machine, *};

    #[test]
    fn cgroups_of_one_hierarchy_are_targets_together_and_each_once() {
        let machine = Machine::hybrid();
        let places = ["a.slice", "b.slice"].map(|name| machine.make_cgroup("unified", name));
        let named = ["a.slice", "b.slice", "/a.slice"].map(|name| Request::Cgroup(name.into()));
        let targets = resolve_in(&machine.roots(), &named, &mut None).unwrap();
        let found: Vec<_> = targets.cgroups.iter().map(|cgroup| &cgroup.path).collect();
        assert_eq!(found, places.iter().collect::<Vec<_>>());
    }

    #[test]
    fn cgroups_of_two_hierarchies_are_refused_in_one_sentence() {
        let machine = Machine::hybrid();
        machine.make_cgroup("unified", "a.slice");
        machine.make_cgroup("memory", "b.slice");
        let named = ["a.slice", "b.slice"].map(|name| Request::Cgroup(name.into()));
        let error = resolve_in(&machine.roots(), &named, &mut None).unwrap_err();
        let words = "`/a.slice` is in cgroup v2 and `/b.slice` in cgroup v1 (memory), and one \
                     trace can match only one of these hierarchies: trace them one at a time, or \
                     name each by a --cgroup PATH in the same hierarchy";
        assert_eq!(error.to_string(), words);
    }
}
