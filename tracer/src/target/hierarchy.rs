//! The mounted cgroup hierarchies of this machine: version 2, version 1, or both.
//!
//! They are read from mountinfo, which also has the controllers of a version 1 hierarchy. A directory's file system
//! type would not show those.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use procfs::process::{MountInfo, MountInfos, Process};

use super::TargetError;
use crate::sys::bounded;

/// Which cgroup hierarchy an id belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hierarchy {
    /// The unified (version 2) hierarchy.
    V2,
    /// A version 1 hierarchy.
    V1 {
        /// Its controller, as user space spells it. Of several that are mounted together, the first.
        controller: String,
    },
}

impl Hierarchy {
    /// The enumerator of the kernel's `enum cgroup_subsys_id` whose value is the index into `css_set.subsys`. `None`
    /// for version 2, for which `css_set.dfl_cgrp` is used.
    pub fn subsystem_id(&self) -> Option<String> {
        match self {
            Self::V2 => None,
            // The kernel calls this controller `io`; `blkio` is its name in version 1.
            Self::V1 { controller } if controller == "blkio" => Some("io_cgrp_id".to_owned()),
            Self::V1 { controller } => Some(format!("{controller}_cgrp_id")),
        }
    }
}

impl fmt::Display for Hierarchy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::V2 => formatter.write_str("cgroup v2"),
            Self::V1 { controller } => write!(formatter, "cgroup v1 ({controller})"),
        }
    }
}

/// Which cgroup versions are mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CgroupLayout {
    /// No hierarchy at all.
    None,
    /// Version 1 only.
    V1,
    /// Version 2 only.
    V2,
    /// Version 1 with version 2 beside it.
    Hybrid,
}

/// Controllers in the order of the kernel's `include/linux/cgroup_subsys.h`. Controllers that are mounted together
/// have the same order.
const CONTROLLERS: [&str; 16] = [
    "cpuset",
    "cpu",
    "cpuacct",
    "blkio",
    "memory",
    "devices",
    "freezer",
    "net_cls",
    "perf_event",
    "net_prio",
    "hugetlb",
    "pids",
    "rdma",
    "misc",
    "dmem",
    "debug",
];

/// Version 1 hierarchies in which container engines always create a cgroup; the best first.
const PREFERRED: [&str; 2] = ["memory", "pids"];

/// What the mount options say about a hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum MountKind {
    Usable(Hierarchy),
    /// A version 1 hierarchy with a name and without a controller.
    Named(String),
}

/// One mounted hierarchy.
#[derive(Clone, Debug)]
pub(crate) struct CgroupMount {
    pub(crate) kind: MountKind,
    pub(crate) mount_point: PathBuf,
    /// The cgroup at the mount point. In some containers it is not `/`.
    root: String,
}

impl CgroupMount {
    fn from_mount(mount: &MountInfo) -> Option<Self> {
        let kind = match mount.fs_type.as_str() {
            "cgroup2" => MountKind::Usable(Hierarchy::V2),
            "cgroup" => kind_of_v1(mount),
            _ => return None,
        };
        Some(Self { kind, mount_point: mount.mount_point.clone(), root: mount.root.clone() })
    }

    /// The directory of a cgroup whose path in procfs is `path`; `None` if the mount does not contain it.
    pub(crate) fn directory_of(&self, path: &str) -> Option<PathBuf> {
        let below = if self.root == "/" { path } else { path.strip_prefix(&self.root)? };
        if !below.is_empty() && !below.starts_with('/') {
            return None;
        }
        // In another cgroup namespace a path can lead upwards: `/../abc`.
        if below.split('/').any(|component| component == "..") {
            return None;
        }
        Some(self.mount_point.join(below.trim_start_matches('/')))
    }

    fn rank(&self) -> usize {
        match &self.kind {
            MountKind::Usable(Hierarchy::V2) => 0,
            MountKind::Usable(Hierarchy::V1 { controller }) => PREFERRED
                .iter()
                .position(|preferred| preferred == controller)
                .map_or(PREFERRED.len() + 1, |position| position + 1),
            MountKind::Named(_) => PREFERRED.len() + 2,
        }
    }
}

fn kind_of_v1(mount: &MountInfo) -> MountKind {
    let controller =
        CONTROLLERS.into_iter().find(|controller| mount.super_options.contains_key(*controller));
    match controller {
        Some(controller) => MountKind::Usable(Hierarchy::V1 { controller: controller.to_owned() }),
        None => MountKind::Named(match mount.super_options.get("name") {
            Some(Some(name)) => name.clone(),
            Some(None) | None => "unnamed".to_owned(),
        }),
    }
}

/// Every mounted hierarchy; the preferred one first.
#[derive(Clone, Debug)]
pub(crate) struct CgroupMounts(Vec<CgroupMount>);

impl CgroupMounts {
    /// Reads the mounts that this process sees.
    pub(crate) fn read(proc: &Path, cgroup: &Path) -> Result<Self, TargetError> {
        let mounts = Process::new_with_root(proc.join("self"))
            .and_then(|process| bounded::of_process::<MountInfos>(&process, "mountinfo"))
            .map_err(TargetError::procfs("the list of mounts"))?;
        let mut found: Vec<_> = mounts.iter().filter_map(CgroupMount::from_mount).collect();
        // If a hierarchy is mounted twice, the usual place is preferred.
        found.sort_by_key(|mount| (mount.rank(), !mount.mount_point.starts_with(cgroup)));
        Ok(Self(found))
    }

    /// Every hierarchy, version 2 first, then memory, pids and the rest.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &CgroupMount> {
        self.0.iter()
    }

    /// Every hierarchy that the eBPF programs can match, in the same order.
    pub(crate) fn usable(&self) -> impl Iterator<Item = (&Hierarchy, &CgroupMount)> {
        self.0.iter().filter_map(|mount| match &mount.kind {
            MountKind::Usable(hierarchy) => Some((hierarchy, mount)),
            MountKind::Named(_) => None,
        })
    }

    /// The hierarchies that engines and service managers use: the others need not have every cgroup.
    pub(crate) fn filled(&self) -> impl Iterator<Item = (&Hierarchy, &CgroupMount)> {
        self.usable().filter(|(hierarchy, _)| match hierarchy {
            Hierarchy::V2 => true,
            Hierarchy::V1 { controller } => controller == "memory" || controller == "pids",
        })
    }

    /// The hierarchy that contains a canonical path.
    pub(crate) fn containing(&self, path: &Path) -> Option<&CgroupMount> {
        self.0
            .iter()
            .filter(|mount| path.starts_with(&mount.mount_point))
            .max_by_key(|mount| mount.mount_point.as_os_str().len())
    }

    /// Which versions are mounted.
    pub(crate) fn layout(&self) -> CgroupLayout {
        let is_v2 = |mount: &&CgroupMount| mount.kind == MountKind::Usable(Hierarchy::V2);
        let v2 = self.0.iter().filter(is_v2).count();
        match (v2, self.0.len() - v2) {
            (0, 0) => CgroupLayout::None,
            (0, _) => CgroupLayout::V1,
            (_, 0) => CgroupLayout::V2,
            (_, _) => CgroupLayout::Hybrid,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(line: &str) -> CgroupMount {
        CgroupMount::from_mount(&MountInfo::from_line(line).unwrap()).unwrap()
    }

    fn v1(controller: &str) -> MountKind {
        MountKind::Usable(Hierarchy::V1 { controller: controller.to_owned() })
    }

    #[test]
    fn mounts_are_told_apart_by_their_options() {
        let unified =
            mount("41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate");
        assert_eq!(unified.kind, MountKind::Usable(Hierarchy::V2));
        let memory = mount("35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory");
        assert_eq!(memory.kind, v1("memory"));
        let both = mount("32 31 0:29 / /c/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct");
        assert_eq!(both.kind, v1("cpu"), "the first of two that are mounted together");
        let systemd = mount("40 31 0:37 / /c/systemd rw - cgroup cgroup rw,xattr,name=systemd");
        assert_eq!(systemd.kind, MountKind::Named("systemd".to_owned()));
        let proc = "22 27 0:21 / /proc rw - proc proc rw";
        assert!(CgroupMount::from_mount(&MountInfo::from_line(proc).unwrap()).is_none());
    }

    #[test]
    fn a_path_is_placed_below_the_mount_point() {
        let whole = mount("41 31 0:38 / /c rw - cgroup2 cgroup2 rw");
        assert_eq!(whole.directory_of("/docker/ab"), Some(PathBuf::from("/c/docker/ab")));
        assert_eq!(whole.directory_of("/"), Some(PathBuf::from("/c/")));
        assert_eq!(whole.directory_of("/../ab"), None);
        let part = mount("41 31 0:38 /docker/ab /c rw - cgroup2 cgroup2 rw");
        assert_eq!(part.directory_of("/docker/ab/x"), Some(PathBuf::from("/c/x")));
        assert_eq!(part.directory_of("/docker/abc"), None);
        assert_eq!(part.directory_of("/other"), None);
    }

    #[test]
    fn controllers_are_named_as_the_kernel_names_them() {
        let name = |controller: &str| {
            Hierarchy::V1 { controller: controller.to_owned() }.subsystem_id().unwrap()
        };
        assert_eq!(name("memory"), "memory_cgrp_id");
        assert_eq!(name("blkio"), "io_cgrp_id");
        assert_eq!(Hierarchy::V2.subsystem_id(), None);
    }

    #[test]
    fn this_machine_has_a_layout() {
        let mounts = CgroupMounts::read(Path::new("/proc"), Path::new("/sys/fs/cgroup")).unwrap();
        assert_eq!(mounts.layout() == CgroupLayout::None, mounts.iter().next().is_none());
    }
}
