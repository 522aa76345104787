//! Where the cgroup of a container will be that an engine is about to create.

use std::{
    collections::VecDeque,
    fs,
    path::{Path, PathBuf},
};

use super::{cgroup_path::long_id, proof::doubt_of_path};
use crate::target::{
    CgroupTarget, Hierarchy, Roots, TargetError,
    hierarchy::{CgroupMount, CgroupMounts},
};

/// The most cgroups that a search visits.
const MOST_VISITED: usize = 16_384;
/// How many digits of an id engines print.
const SHORT_ID: usize = 12;

/// The hierarchy in which the cgroup will be.
#[derive(Clone, Debug)]
pub struct ContainerPlace {
    hierarchy: Hierarchy,
    mount: CgroupMount,
    /// Whether only cgroups count that root named.
    is_of_root: bool,
    root_uid: u32,
}

impl ContainerPlace {
    /// The hierarchy `given`, or the one in which engines always make a cgroup: version 2 if it is mounted where
    /// cgroups are, else `memory` or `pids` of version 1 (runc's `IsCgroup2UnifiedMode`).
    ///
    /// # Errors
    /// A [`TargetError`] if no hierarchy is mounted or can be read.
    pub fn expect(roots: &Roots, given: Option<&Hierarchy>) -> Result<Self, TargetError> {
        let mounts = CgroupMounts::read(&roots.proc, &roots.cgroup)?;
        let is_unified = |hierarchy: &Hierarchy, mount: &CgroupMount| {
            *hierarchy == Hierarchy::V2 && mount.mount_point == roots.cgroup
        };
        let rank = |hierarchy: &Hierarchy, mount: &CgroupMount| match (given, hierarchy) {
            (Some(given), _) => usize::from(given != hierarchy),
            (None, _) if is_unified(hierarchy, mount) => 0,
            (None, Hierarchy::V1 { .. }) => 1,
            (None, Hierarchy::V2) => 2,
        };
        // Of the same rank, the first is the best.
        let found = mounts.usable().min_by_key(|(hierarchy, mount)| rank(hierarchy, mount));
        let (hierarchy, mount) =
            found.ok_or_else(|| TargetError::NoCgroupMount { root: roots.cgroup.clone() })?;
        Ok(Self {
            hierarchy: hierarchy.clone(),
            mount: mount.clone(),
            is_of_root: false,
            root_uid: roots.root_uid,
        })
    }

    /// The same without cgroups that another user may have named.
    #[must_use]
    pub(crate) fn of_root(self) -> Self {
        Self { is_of_root: true, ..self }
    }

    /// The hierarchy.
    #[must_use]
    pub const fn hierarchy(&self) -> &Hierarchy {
        &self.hierarchy
    }

    /// Where it is mounted.
    pub(crate) fn mount_point(&self) -> &Path {
        &self.mount.mount_point
    }

    /// Finds the cgroup of the container with this id where docker makes it by default (drivers `cgroupfs` and
    /// `systemd`), or `everywhere`: a container and its engine can be told another parent (`--cgroup-parent`). One that
    /// another user may have named is the last choice, and has a doubt.
    #[must_use]
    pub fn find(&self, id: &str, everywhere: bool) -> Option<CgroupTarget> {
        let usual = [format!("/docker/{id}"), format!("/system.slice/docker-{id}.scope")];
        let mut usual = usual.iter().filter_map(|path| self.mount.directory_of(path));
        let path = usual.find(|path| path.is_dir() && self.doubt(path).is_none());
        let path = path.or_else(|| everywhere.then(|| self.search(id)).flatten())?;
        let doubt = self.doubt(&path);
        if self.is_of_root && doubt.is_some() {
            return None;
        }
        let label = id.get(..SHORT_ID).unwrap_or(id).to_owned();
        let found = CgroupTarget::at(path, self.hierarchy.clone(), label).ok()?;
        Some(CgroupTarget { doubt, ..found })
    }

    /// Why a directory may not be the container's although it has the name.
    fn doubt(&self, directory: &Path) -> Option<String> {
        let root = &self.mount.mount_point;
        let below = directory.strip_prefix(root).unwrap_or(directory);
        doubt_of_path(self.root_uid, root, &format!("/{}", below.display()))
    }

    /// Searches from the top down, for one that root named before any other.
    fn search(&self, id: &str) -> Option<PathBuf> {
        let mut open = VecDeque::from([self.mount.mount_point.clone()]);
        let is_its = |name: &str| long_id(name).is_some_and(|(_, found)| found == id);
        let mut doubted = None;
        for _ in 0..MOST_VISITED {
            let Some(next) = open.pop_front() else { break };
            let entries = fs::read_dir(next).into_iter().flatten().flatten();
            for entry in entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
                let path = entry.path();
                if !entry.file_name().to_str().is_some_and(is_its) {
                    open.push_back(path);
                } else if self.doubt(&path).is_none() {
                    return Some(path);
                } else {
                    doubted.get_or_insert(path);
                }
            }
        }
        doubted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::machine::Machine;

    const ID: &str = "aaaa456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn on(machine: &Machine) -> ContainerPlace {
        ContainerPlace::expect(&machine.roots(), None).unwrap()
    }

    #[test]
    fn a_container_is_expected_where_engines_make_its_cgroup() {
        assert_eq!(*on(&Machine::unified()).hierarchy(), Hierarchy::V2);
        let hybrid = Machine::hybrid();
        let memory = Hierarchy::V1 { controller: "memory".to_owned() };
        assert_eq!(*on(&hybrid).hierarchy(), memory);
        let given = ContainerPlace::expect(&hybrid.roots(), Some(&Hierarchy::V2)).unwrap();
        assert_eq!(*given.hierarchy(), Hierarchy::V2);
        let none = ContainerPlace::expect(&Machine::without_cgroups().roots(), None);
        assert!(matches!(none, Err(TargetError::NoCgroupMount { .. })));
    }

    #[test]
    fn both_drivers_and_other_parents_are_found() {
        for path in [format!("docker/{ID}"), format!("system.slice/docker-{ID}.scope")] {
            let machine = Machine::hybrid();
            let place = on(&machine);
            assert_eq!(place.find(ID, true), None);
            machine.make_cgroup("unified", &path);
            assert_eq!(place.find(ID, true), None, "of another hierarchy");
            let directory = machine.make_cgroup("memory", &path);
            assert_eq!(place.find(ID, false).unwrap().path, directory);
        }
        let machine = Machine::unified();
        machine.make_cgroup("", &format!("machine.slice/libpod-conmon-{ID}.scope"));
        machine.make_cgroup("", &format!("x{ID}"));
        let directory = machine.make_cgroup("", &format!("a.slice/a-b.slice/docker-{ID}.scope"));
        assert_eq!(on(&machine).find(ID, false), None);
        assert_eq!(on(&machine).find(ID, true).unwrap().path, directory);
    }

    #[test]
    fn a_cgroup_that_a_user_named_is_the_last_choice_and_none_of_roots_engine() {
        use std::os::unix::fs::PermissionsExt as _;

        let machine = Machine::unified();
        let forged = machine.make_cgroup("", &format!("given/docker-{ID}.scope"));
        let given = forged.parent().unwrap();
        fs::set_permissions(given, fs::Permissions::from_mode(0o777)).unwrap();
        let found = on(&machine).find(ID, true).unwrap();
        assert_eq!(found.path, forged);
        assert!(found.doubt.unwrap().ends_with(&format!("does not control {}", given.display())));
        assert_eq!(on(&machine).of_root().find(ID, true), None);
        let own = machine.make_cgroup("", &format!("z.slice/z-a.slice/docker-{ID}.scope"));
        for place in [on(&machine), on(&machine).of_root()] {
            let found = place.find(ID, true).unwrap();
            assert_eq!((found.path, found.doubt), (own.clone(), None));
        }
    }
}
