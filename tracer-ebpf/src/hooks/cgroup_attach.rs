//! A task moves between cgroups: `cgroup_attach_task(struct cgroup *dst, const char *path, struct
//! task_struct *task, bool threadgroup)` (include/trace/events/cgroup.h, Linux 5.10 to 7.2).
//! This is how `docker exec` puts a process into a container.

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};
use tracer_common::{event::kind, process::ROLE_TARGET};

use crate::{
    kernel::{kread::Kptr, task},
    maps::slot,
    targets::{adopt, cgroup, membership},
};

/// Entry point, see the module documentation.
#[btf_tracepoint(function = "cgroup_attach_task")]
pub(crate) fn cgroup_attach(ctx: BtfTracePointContext) -> i32 {
    let _ = moved(Kptr(ctx.arg::<u64>(2)));
    0
}

#[inline(always)]
fn moved(task: Kptr) -> Option<()> {
    if !cgroup::contains(task) || task::is_kernel_thread(task) {
        return None;
    }
    let process = task::process_of(task)?;
    if membership::follow(process, ROLE_TARGET, task) {
        adopt::announce(slot::CGROUP, kind::ADOPTED, task, ROLE_TARGET);
    }
    Some(())
}
