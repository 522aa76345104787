//! The table of hooks: what is attached, to what, and what may be missing.

use aya::util::KernelVersion;
use tracer_common::{names, trace_event};

use crate::btf::KernelTypes;

/// One hook.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hook {
    /// What it gives, for `tracer doctor`.
    pub(crate) purpose: &'static str,
    /// When it is attached.
    pub(crate) need: Need,
    /// In [`Manner::Typed`].
    typed: Place,
    /// In [`Manner::Undisturbed`].
    undisturbed: Place,
}

/// A program, and what it is attached to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    /// Program name in the object.
    pub(crate) program: &'static str,
    /// What it is attached to.
    pub(crate) at: At,
}

/// What a program is attached to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum At {
    /// A tracepoint with typed arguments, newest name first.
    Tracepoint(&'static [&'static str]),
    /// A trace event: its folder below `/sys/kernel/tracing/events`, and its name there.
    Event(&'static str, &'static str),
}

/// When a hook is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// Always; no trace without it.
    Always,
    /// Only for a cgroup target.
    Cgroup,
    /// When the kernel's io_uring tracepoints carry the request.
    Uring,
}

/// How programs are started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// By typed tracepoints: the cheapest, and with preemption off before Linux 7.0.
    Typed,
    /// With preemption off on every kernel: by trace events, and by the tracepoints that lie under a
    /// spinlock.
    Undisturbed,
}

/// Since then programs on typed tracepoints can be preempted, and while one rests the kernel skips that
/// program for every other task on the CPU (`__bpf_trace_run`, kernel/trace/bpf_trace.c, Linux 7.2).
const PREEMPTED_SINCE: KernelVersion = KernelVersion::new(7, 0, 0);

impl Manner {
    /// The cheapest that misses nothing on this kernel.
    pub(crate) fn of_this_kernel() -> Self {
        // A kernel that hides its version may be any.
        let is_older = KernelVersion::current().is_ok_and(|version| version < PREEMPTED_SINCE);
        if is_older { Self::Typed } else { Self::Undisturbed }
    }
}

impl Hook {
    /// What is attached for it.
    pub(crate) fn place(&self, manner: Manner) -> Place {
        match manner {
            Manner::Typed => self.typed,
            Manner::Undisturbed => self.undisturbed,
        }
    }
}

impl Place {
    const fn tracepoint(program: &'static str, names: &'static [&'static str]) -> Self {
        Self { program, at: At::Tracepoint(names) }
    }

    const fn event(program: &'static str, folder: &'static str, name: &'static str) -> Self {
        Self { program, at: At::Event(folder, name) }
    }

    /// What the kernel calls it.
    pub(crate) fn name(self, types: &KernelTypes) -> &'static str {
        match self.at {
            At::Tracepoint(names) => tracepoint(names, types),
            At::Event(_, name) => name,
        }
    }
}

const SIGNAL: Place = Place::tracepoint(names::SIGNAL, &["signal_deliver"]);
const CGROUP_ATTACH: Place = Place::tracepoint(names::CGROUP_ATTACH, &["cgroup_attach_task"]);

/// Attach order: bytes first, births last. Whoever is born under the fork hook is counted from its
/// first instruction; whoever was there before it is adopted, and known to be late.
pub(crate) const HOOKS: &[Hook] = &[
    Hook {
        purpose: "every write and read",
        need: Need::Always,
        typed: Place::tracepoint(names::SYS_EXIT, &["sys_exit"]),
        undisturbed: Place::event(names::SYS_EXIT_EVENT, "raw_syscalls", "sys_exit"),
    },
    Hook {
        purpose: "io_uring requests",
        need: Need::Uring,
        typed: Place::tracepoint(
            names::URING_SUBMIT,
            &["io_uring_submit_req", "io_uring_submit_sqe"],
        ),
        undisturbed: Place::event(names::URING_SUBMIT_EVENT, "io_uring", "io_uring_submit_req"),
    },
    Hook {
        purpose: "io_uring results",
        need: Need::Uring,
        typed: Place::tracepoint(names::URING_COMPLETE, &["io_uring_complete"]),
        undisturbed: Place::event(names::URING_COMPLETE_EVENT, "io_uring", "io_uring_complete"),
    },
    Hook {
        purpose: "interrupted calls",
        need: Need::Always,
        typed: SIGNAL,
        // Under `sighand->siglock` (`get_signal`, kernel/signal.c).
        undisturbed: SIGNAL,
    },
    Hook {
        purpose: "ends and exit codes",
        need: Need::Always,
        typed: Place::tracepoint(names::EXIT, &["sched_process_exit"]),
        undisturbed: Place::event(names::EXIT_EVENT, "sched", "sched_process_exit"),
    },
    Hook {
        purpose: "new images",
        need: Need::Always,
        typed: Place::tracepoint(names::EXEC, &["sched_process_exec"]),
        undisturbed: Place::event(names::EXEC_EVENT, "sched", "sched_process_exec"),
    },
    Hook {
        purpose: "processes moved into a container",
        need: Need::Cgroup,
        typed: CGROUP_ATTACH,
        // Under `trace_cgroup_path_lock` (`TRACE_CGROUP_PATH`, kernel/cgroup/cgroup-internal.h).
        undisturbed: CGROUP_ATTACH,
    },
    Hook {
        purpose: "new processes",
        need: Need::Always,
        typed: Place::tracepoint(names::FORK, &["sched_process_fork"]),
        // Under the run queue's lock (`wake_up_new_task`, kernel/sched/core.c).
        undisturbed: Place::tracepoint(names::FORK_WAKEUP, &["sched_wakeup_new"]),
    },
];

/// All tracepoints with typed arguments that a hook may want.
pub(crate) fn tracepoints() -> impl Iterator<Item = &'static str> {
    let places = HOOKS.iter().flat_map(|hook| [hook.typed, hook.undisturbed]);
    places
        .flat_map(|place| match place.at {
            At::Tracepoint(names) => names,
            At::Event(..) => &[],
        })
        .copied()
}

/// The first field of a trace event that is not where the programs read it.
pub(crate) fn misplaced_field(types: &KernelTypes) -> Option<(&'static str, &'static str)> {
    trace_event::FIELDS.into_iter().find_map(|(event, field, offset)| {
        let found = types.offset_in(&format!("trace_event_raw_{event}"), field);
        (found != Some(offset as u64)).then_some((event, field))
    })
}

/// A program that user space runs over everything that is there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Walk {
    /// Program name in the object.
    pub(crate) program: &'static str,
    /// What it goes through, by the kernel's name.
    pub(crate) kind: &'static str,
    /// Its name for `tracer doctor`.
    pub(crate) name: &'static str,
    /// What it gives, likewise.
    pub(crate) purpose: &'static str,
}

/// The iterators.
pub(crate) const ITERATORS: &[Walk] = &[
    Walk {
        program: names::ADOPT,
        kind: "task",
        name: "iter/task",
        purpose: "processes that are there already",
    },
    Walk {
        program: names::HOLDERS,
        kind: "task_file",
        name: "iter/task_file",
        purpose: "who holds an object open",
    },
];

/// How this kernel's io_uring tracepoints look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Uring {
    /// `io_uring_complete` passes a completion entry rather than the result.
    pub(crate) cqe_argument: bool,
}

/// `None` when the tracepoints do not carry the request (before 5.19) or io_uring is compiled out.
pub(crate) fn uring(types: &KernelTypes) -> Option<Uring> {
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

/// The first of these tracepoints that this kernel has.
fn tracepoint(names: &'static [&'static str], types: &KernelTypes) -> &'static str {
    let known = names.iter().find(|name| types.tracepoint_arguments(name).is_some());
    known.or(names.first()).copied().unwrap_or_default()
}
