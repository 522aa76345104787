//! A cgroup, by its path.
//!
//! The eBPF programs match the cgroup's id in its hierarchy. So a process is followed from the moment it is moved
//! into the cgroup, whichever process started it.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Component, Path, PathBuf},
};

use super::{
    Roots, TargetError,
    hierarchy::{CgroupMount, CgroupMounts, Hierarchy, MountKind},
};
use crate::sys::bounded;

/// A cgroup in the form that the kernel identifies it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CgroupTarget {
    /// The inode number of its directory, which is `cgroup.kn.id` in the kernel.
    pub id: u64,
    /// The hierarchy in which `id` means this cgroup.
    pub hierarchy: Hierarchy,
    /// Its directory.
    pub path: PathBuf,
    /// Its name in reports.
    pub label: String,
    /// Why it may not be the named container.
    pub doubt: Option<String>,
}

impl CgroupTarget {
    /// Pids of the processes that are in it or below it now, of at most [`MOST_LISTED`] cgroups. None of a cgroup that
    /// cannot be read.
    #[must_use]
    pub fn pids(&self) -> Vec<u32> {
        let (mut pids, mut left) = (Vec::new(), MOST_LISTED);
        list(&self.path, &mut left, &mut pids);
        pids
    }

    /// The cgroup that has its path now, which may be another one. `None` if there is none.
    #[must_use]
    pub fn again(&self) -> Option<Self> {
        let now = Self::at(self.path.clone(), self.hierarchy.clone(), self.label.clone()).ok()?;
        Some(Self { doubt: self.doubt.clone(), ..now })
    }

    /// The cgroup whose directory is `path`.
    pub(crate) fn at(
        path: PathBuf,
        hierarchy: Hierarchy,
        label: String,
    ) -> Result<Self, TargetError> {
        match fs::metadata(&path) {
            Ok(metadata) => Ok(Self { id: metadata.ino(), hierarchy, path, label, doubt: None }),
            Err(source) => Err(TargetError::Unreadable { path, source }),
        }
    }
}

/// How many cgroups below a target are read for their processes.
const MOST_LISTED: usize = 4096;

fn list(cgroup: &Path, left: &mut usize, pids: &mut Vec<u32>) {
    if *left == 0 {
        return;
    }
    *left -= 1;
    let listed = bounded::text(cgroup.join("cgroup.procs")).unwrap_or_default();
    pids.extend(listed.lines().filter_map(|pid| pid.parse::<u32>().ok()));
    let below = fs::read_dir(cgroup).into_iter().flatten().flatten().map(|entry| entry.path());
    below.filter(|path| path.is_dir()).for_each(|path| list(&path, left, pids));
}

/// Finds a cgroup by an absolute path, or by a path relative to the root of a hierarchy.
pub(super) fn resolve(roots: &Roots, path: &Path) -> Result<CgroupTarget, TargetError> {
    if path.as_os_str().is_empty() {
        return Err(TargetError::EmptyName { what: "cgroup path" });
    }
    let mounts = CgroupMounts::read(&roots.proc, &roots.cgroup)?;
    if mounts.usable().next().is_none() {
        return Err(TargetError::NoCgroupMount { root: roots.cgroup.clone() });
    }
    let mut looked_at = Vec::new();
    for place in places(roots, &mounts, path) {
        match fs::canonicalize(&place) {
            Ok(directory) if directory.is_dir() => {
                return identify(roots, &mounts, path, directory);
            }
            Ok(_) => return Err(not_a_cgroup(roots, path)),
            Err(_) => looked_at.push(place),
        }
    }
    if path.is_absolute() && path.exists() {
        return Err(not_a_cgroup(roots, path));
    }
    Err(TargetError::CgroupNotFound {
        path: path.to_owned(),
        looked_at,
        root: roots.cgroup.clone(),
    })
}

/// The directories that a path may mean: the path itself if it leads into a mounted hierarchy, else the path below
/// the root of each hierarchy that engines and service managers use.
fn places(roots: &Roots, mounts: &CgroupMounts, path: &Path) -> Vec<PathBuf> {
    let is_mounted = mounts.iter().any(|mount| path.starts_with(&mount.mount_point));
    // `/sys/fs/cgroup/cpu` can be a link to the mount point `/sys/fs/cgroup/cpu,cpuacct`.
    if is_mounted || path.starts_with(&roots.cgroup) {
        return vec![path.to_owned()];
    }
    let below: PathBuf =
        path.components().filter(|component| !matches!(component, Component::RootDir)).collect();
    mounts.filled().map(|(_, mount)| mount.mount_point.join(&below)).collect()
}

fn identify(
    roots: &Roots,
    mounts: &CgroupMounts,
    typed: &Path,
    directory: PathBuf,
) -> Result<CgroupTarget, TargetError> {
    let Some(mount) = mounts.containing(&directory) else {
        return Err(not_a_cgroup(roots, typed));
    };
    let hierarchy = match &mount.kind {
        MountKind::Usable(hierarchy) => hierarchy.clone(),
        MountKind::Named(name) => {
            return Err(TargetError::CgroupHierarchyUnsupported {
                path: typed.to_owned(),
                hierarchy: name.clone(),
                instead: mounts
                    .usable()
                    .next()
                    .map_or_else(|| roots.cgroup.clone(), |(_, mount)| mount.mount_point.clone()),
            });
        }
    };
    let label = label_of(mount, &directory);
    CgroupTarget::at(directory, hierarchy, label)
}

fn label_of(mount: &CgroupMount, directory: &Path) -> String {
    let below = directory.strip_prefix(&mount.mount_point).unwrap_or(directory);
    format!("/{}", below.display())
}

fn not_a_cgroup(roots: &Roots, path: &Path) -> TargetError {
    TargetError::NotACgroup { path: path.to_owned(), root: roots.cgroup.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::machine::Machine;

    fn resolve_on(machine: &Machine, path: impl AsRef<Path>) -> Result<CgroupTarget, TargetError> {
        resolve(&machine.roots(), path.as_ref())
    }

    fn ino(path: &Path) -> u64 {
        fs::metadata(path).unwrap().ino()
    }

    #[test]
    fn an_absolute_path_is_taken_in_its_own_hierarchy() {
        let machine = Machine::hybrid();
        let memory = machine.make_cgroup("memory", "web");
        let unified = machine.make_cgroup("unified", "web");
        let target = resolve_on(&machine, &memory).unwrap();
        assert_eq!(target.hierarchy, Hierarchy::V1 { controller: "memory".to_owned() });
        assert_eq!((target.id, target.label.as_str()), (ino(&memory), "/web"));
        let target = resolve_on(&machine, &unified).unwrap();
        assert_eq!((target.id, target.hierarchy), (ino(&unified), Hierarchy::V2));
    }

    #[test]
    fn processes_in_a_cgroup_and_below_it_are_listed() {
        let machine = Machine::unified();
        let pod = machine.make_cgroup("", "pod");
        let below = machine.make_cgroup("", "pod/a/b");
        machine.make_cgroup("", "other");
        fs::write(pod.join("cgroup.procs"), "7\n").unwrap();
        fs::write(below.join("cgroup.procs"), "8\n9\n").unwrap();
        assert_eq!(resolve_on(&machine, "pod").unwrap().pids(), [7, 8, 9]);
    }

    #[test]
    fn a_relative_path_is_looked_up_in_version_2_first() {
        let machine = Machine::hybrid();
        machine.make_cgroup("memory", "docker/ab");
        let unified = machine.make_cgroup("unified", "docker/ab");
        for typed in ["/docker/ab", "docker/ab", "docker/ab/"] {
            let target = resolve_on(&machine, typed).unwrap();
            assert_eq!((&target.path, &target.hierarchy), (&unified, &Hierarchy::V2), "{typed}");
        }
        let only_v1 = machine.make_cgroup("pids", "old.slice");
        assert_eq!(resolve_on(&machine, "old.slice").unwrap().path, only_v1);
    }

    #[test]
    fn co_mounted_controllers_are_reached_through_their_link() {
        let machine = Machine::hybrid();
        let directory = machine.make_cgroup("cpu,cpuacct", "web");
        let typed = machine.roots().cgroup.join("cpuacct/web");
        let target = resolve_on(&machine, typed).unwrap();
        assert_eq!(target.path, directory);
        assert_eq!(target.hierarchy, Hierarchy::V1 { controller: "cpu".to_owned() });
    }

    #[test]
    fn a_hierarchy_without_controller_is_refused_with_another_to_use() {
        let machine = Machine::hybrid();
        let directory = machine.make_cgroup("systemd", "web");
        let error = resolve_on(&machine, directory).unwrap_err();
        assert!(matches!(error, TargetError::CgroupHierarchyUnsupported { .. }));
        assert!(error.to_string().contains("`systemd`"), "{error}");
        assert!(error.to_string().ends_with("unified"), "{error}");
    }

    #[test]
    fn what_is_no_cgroup_is_refused() {
        let machine = Machine::hybrid();
        let file = machine.make_cgroup("unified", "web").join("cgroup.procs");
        fs::write(&file, "").unwrap();
        for path in [file.as_path(), &machine.roots().cgroup, Path::new("/usr"), Path::new("../..")]
        {
            let error = resolve_on(&machine, path).unwrap_err();
            assert!(matches!(error, TargetError::NotACgroup { .. }), "{}: {error}", path.display());
        }
    }

    #[test]
    fn a_missing_cgroup_is_reported_with_the_places_tried() {
        let machine = Machine::hybrid();
        let error = resolve_on(&machine, "no/such").unwrap_err();
        let message = error.to_string();
        assert!(matches!(error, TargetError::CgroupNotFound { .. }));
        assert!(message.contains("unified/no/such"), "{message}");
        assert!(message.contains("memory/no/such"), "{message}");
        assert!(matches!(resolve_on(&machine, ""), Err(TargetError::EmptyName { .. })));
    }

    #[test]
    fn without_any_hierarchy_the_mount_is_asked_for() {
        let machine = Machine::without_cgroups();
        let error = resolve_on(&machine, "web").unwrap_err();
        assert!(matches!(error, TargetError::NoCgroupMount { .. }));
    }

    #[test]
    fn the_root_of_a_mounted_hierarchy_of_this_machine_is_found() {
        let roots = Roots::host();
        let mounts = CgroupMounts::read(&roots.proc, &roots.cgroup).unwrap();
        let Some((hierarchy, mount)) = mounts.usable().next() else { return };
        let target = resolve(&roots, &mount.mount_point).unwrap();
        assert_eq!(&target.hierarchy, hierarchy);
        assert_eq!((target.id, target.label.as_str()), (ino(&mount.mount_point), "/"));
    }
}
