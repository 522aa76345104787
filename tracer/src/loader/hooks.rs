//! The table of hooks: what is attached, to what, and what may be missing.

use tracer_common::names;

use crate::btf::KernelTypes;

/// One hook.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hook {
    /// Program name in the object.
    pub(super) program: &'static str,
    /// Tracepoint it is attached to, newest name first.
    pub(super) tracepoints: &'static [&'static str],
    /// What it gives, for `tracer doctor`.
    pub(super) purpose: &'static str,
    /// When it is attached.
    pub(super) need: Need,
}

/// When a hook is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// Always; no trace without it.
    Always,
    /// Only for a cgroup target.
    Cgroup,
    /// When the kernel's io_uring tracepoints carry the request.
    Uring,
}

/// Attach order: bytes first, births last. Whoever is born under the fork hook is counted from its
/// first instruction; whoever was there before it is adopted, and known to be late.
pub(super) const HOOKS: &[Hook] = &[
    Hook {
        program: names::SYS_EXIT,
        tracepoints: &["sys_exit"],
        purpose: "every write and read",
        need: Need::Always,
    },
    Hook {
        program: names::URING_SUBMIT,
        tracepoints: &["io_uring_submit_req", "io_uring_submit_sqe"],
        purpose: "io_uring requests",
        need: Need::Uring,
    },
    Hook {
        program: names::URING_COMPLETE,
        tracepoints: &["io_uring_complete"],
        purpose: "io_uring results",
        need: Need::Uring,
    },
    Hook {
        program: names::SIGNAL,
        tracepoints: &["signal_deliver"],
        purpose: "interrupted calls",
        need: Need::Always,
    },
    Hook {
        program: names::EXIT,
        tracepoints: &["sched_process_exit"],
        purpose: "ends and exit codes",
        need: Need::Always,
    },
    Hook {
        program: names::EXEC,
        tracepoints: &["sched_process_exec"],
        purpose: "new images",
        need: Need::Always,
    },
    Hook {
        program: names::CGROUP_ATTACH,
        tracepoints: &["cgroup_attach_task"],
        purpose: "processes moved into a container",
        need: Need::Cgroup,
    },
    Hook {
        program: names::FORK,
        tracepoints: &["sched_process_fork"],
        purpose: "new processes",
        need: Need::Always,
    },
];

/// A program that user space runs over everything that is there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Iterator {
    /// Program name in the object.
    pub(super) program: &'static str,
    /// What it goes through, by the kernel's name.
    pub(super) kind: &'static str,
    /// Its name for `tracer doctor`.
    pub(super) name: &'static str,
    /// What it gives, likewise.
    pub(super) purpose: &'static str,
}

/// The iterators.
pub(super) const ITERATORS: &[Iterator] = &[
    Iterator {
        program: names::ADOPT,
        kind: "task",
        name: "iter/task",
        purpose: "processes that are there already",
    },
    Iterator {
        program: names::HOLDERS,
        kind: "task_file",
        name: "iter/task_file",
        purpose: "who holds an object open",
    },
];

/// How this kernel's io_uring tracepoints look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Uring {
    /// `io_uring_complete` passes a completion entry rather than the result.
    pub(super) cqe_argument: bool,
}

/// `None` when the tracepoints do not carry the request (before 5.19) or io_uring is compiled out.
pub(super) fn uring(types: &KernelTypes) -> Option<Uring> {
    let submit = types
        .tracepoint_arguments("io_uring_submit_req")
        .or_else(|| types.tracepoint_arguments("io_uring_submit_sqe"));
    let complete = types.tracepoint_arguments("io_uring_complete")?;
    // (ctx, req, cqe) since 6.15; (ctx, req, user_data, res, cflags, extra1, extra2) since 5.19;
    // (ctx, user_data, res[, cflags]) before, when io_kiocb had no cqe member either.
    let has_cqe_member =
        types.offsets().ok()?.iter().any(|(name, value)| {
            *name == "URING_CQE_FD" && *value != tracer_common::offsets::MISSING
        });
    match (submit?, complete) {
        (1 | 2, 3) if has_cqe_member => Some(Uring { cqe_argument: true }),
        (1 | 2, 7) if has_cqe_member => Some(Uring { cqe_argument: false }),
        _ => None,
    }
}

/// The first of a hook's tracepoints that this kernel has.
pub(super) fn tracepoint(hook: &Hook, types: &KernelTypes) -> &'static str {
    hook.tracepoints
        .iter()
        .copied()
        .find(|name| types.tracepoint_arguments(name).is_some())
        .unwrap_or(hook.tracepoints[0])
}
