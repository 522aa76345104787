//! Checks whether a task is in a target cgroup or in a descendant of one.

use tracer_common::{limits, offsets::settings::CGROUP_V2};

use crate::{
    kernel::{
        constants::{
            BY_CGROUP, CGROUP_KN, CGROUP_SELF, CGROUP_SUBSYS, CSS_CGROUP, CSS_PARENT, CSS_SET_DFL,
            CSS_SET_SUBSYS, KN_ID, TASK_CGROUPS,
        },
        kread::Kptr,
    },
    maps::CGROUPS,
};

/// Whether `task` belongs to a target cgroup or one of its descendants.
#[inline(always)]
pub(crate) fn contains(task: Kptr) -> bool {
    BY_CGROUP.load() == 1 && walk(task).unwrap_or(false)
}

/// The low half of the id of a task's own cgroup; 0 if no cgroup is a target.
#[inline(always)]
pub(crate) fn id_of(task: Kptr) -> u32 {
    if BY_CGROUP.load() != 1 {
        return 0;
    }
    let id = own(task).and_then(|cgroup| cgroup.follow(&CGROUP_KN)?.member::<u64, _>(&KN_ID));
    id.unwrap_or(0) as u32
}

/// The cgroup of a task in the hierarchy of the target cgroups.
#[inline(always)]
fn own(task: Kptr) -> Option<Kptr> {
    let set = task.follow(&TASK_CGROUPS)?;
    if CGROUP_SUBSYS.load32() == CGROUP_V2 {
        return set.follow(&CSS_SET_DFL);
    }
    let slot = set.at(&CSS_SET_SUBSYS).0 + CGROUP_SUBSYS.load() * 8;
    Kptr(Kptr(slot).read()?).non_null()?.follow(&CSS_CGROUP)
}

#[inline(always)]
fn walk(task: Kptr) -> Option<bool> {
    let mut cgroup = own(task)?;
    for _ in 0..limits::CGROUP_DEPTH {
        let id: u64 = cgroup.follow(&CGROUP_KN)?.member(&KN_ID)?;
        if CGROUPS.get_ptr(id).is_some() {
            return Some(true);
        }
        // `cgroup_parent()`, include/linux/cgroup.h: the parent css belongs to the parent cgroup.
        cgroup = cgroup.at(&CGROUP_SELF).follow(&CSS_PARENT)?.follow(&CSS_CGROUP)?;
    }
    Some(false)
}
