//! The table of hooks: which programs are attached, to what, and which of them are optional.

use std::{
    collections::BTreeSet,
    fmt::{self, Display},
};

use tracer_common::{names, trace_event};

use crate::{LoaderError, btf::KernelTypes, pins::Pins};

/// One hook.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hook {
    /// What the hook is for, in the words of `tracer doctor`.
    pub(crate) purpose: &'static str,
    /// When it is attached.
    pub(crate) need: Need,
    /// The program in [`AttachMode::TpBtf`].
    tp_btf: Attachment,
    /// The program in [`AttachMode::NonPreemptible`].
    non_preemptible: Attachment,
}

/// A program, and what it is attached to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attachment {
    /// The program's name in the object.
    pub(crate) program: &'static str,
    /// What it is attached to.
    pub(crate) point: AttachPoint,
}

/// What a program is attached to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum AttachPoint {
    /// A typed tracepoint; the kernel has one of these names, and the newest is first.
    Tracepoint(&'static [&'static str]),
    /// A trace event: its folder below `/sys/kernel/tracing/events`, and its name.
    TraceEvent(&'static str, &'static str),
}

/// The condition under which a hook is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// Always. No trace works without it.
    Always,
    /// Only for cgroup targets.
    Cgroup,
    /// If the kernel's io_uring tracepoints have the request as an argument.
    Uring,
}

/// The value of `--attach`: what counts bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Attach {
    /// The program on `sys_exit`, which every system call of the machine pays for.
    #[default]
    SysExit,
    /// Programs on the functions of the calls that matter, where the kernel lets them be exact. Otherwise `sys_exit`.
    PreferFexit,
    /// Programs on the functions of the calls that matter. Runs that the kernel skips are counted as lost.
    Fexit,
}

/// The kind of hook that most programs are attached to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttachMode {
    /// Typed tracepoints (`tp_btf`), which cost least. Before Linux 7.0 their programs run with preemption off.
    TpBtf,
    /// Hooks that run with preemption off on every kernel: trace events, and typed tracepoints that the kernel calls
    /// under a spinlock.
    NonPreemptible,
}

impl AttachMode {
    /// The cheapest mode that misses no call on a kernel with these types.
    ///
    /// From Linux 7.0 on, a program on a typed tracepoint can be preempted. While it waits, the kernel skips that
    /// program for every other task on the same CPU (`__bpf_trace_run`, kernel/trace/bpf_trace.c). The same change
    /// protects tracepoints by SRCU-fast (commit a46023d5616e), for which `struct tp_transition_snapshot`
    /// (kernel/tracepoint.c) got the member `srcu_gp`.
    pub(crate) fn for_kernel(types: &KernelTypes) -> Self {
        match types.offset_in("tp_transition_snapshot", "srcu_gp") {
            None => Self::TpBtf,
            Some(_) => Self::NonPreemptible,
        }
    }

    fn other(self) -> Self {
        match self {
            Self::TpBtf => Self::NonPreemptible,
            Self::NonPreemptible => Self::TpBtf,
        }
    }

    /// Attaches in this mode or, if that fails and `may_change` is true, in the other mode. Returns the mode that
    /// worked.
    ///
    /// # Errors
    /// The error of this mode, also if both fail.
    pub(crate) fn attach<E: Display>(
        self,
        may_change: bool,
        mut attach: impl FnMut(Self) -> Result<(), E>,
    ) -> Result<Self, E> {
        let Err(refused) = attach(self) else { return Ok(self) };
        let other = self.other();
        if !may_change || attach(other).is_err() {
            return Err(refused);
        }
        tracing::warn!(
            "attached with --hooks {other}, because this kernel refuses {self}: {refused}"
        );
        Ok(other)
    }
}

/// The value of `--hooks`.
impl Display for AttachMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TpBtf => "tp_btf",
            Self::NonPreemptible => "non-preemptible",
        })
    }
}

impl Hook {
    /// The program for this mode, and what it is attached to.
    pub(crate) fn attachment(&self, mode: AttachMode) -> Attachment {
        match mode {
            AttachMode::TpBtf => self.tp_btf,
            AttachMode::NonPreemptible => self.non_preemptible,
        }
    }
}

impl Attachment {
    const fn tracepoint(program: &'static str, names: &'static [&'static str]) -> Self {
        Self { program, point: AttachPoint::Tracepoint(names) }
    }

    const fn event(program: &'static str, folder: &'static str, name: &'static str) -> Self {
        Self { program, point: AttachPoint::TraceEvent(folder, name) }
    }

    /// The kernel's name of the tracepoint or trace event.
    pub(crate) fn name(self, types: &KernelTypes) -> &'static str {
        match self.point {
            AttachPoint::Tracepoint(names) => tracepoint(names, types),
            AttachPoint::TraceEvent(_, name) => name,
        }
    }
}

const SIGNAL: Attachment = Attachment::tracepoint(names::SIGNAL, &["signal_deliver"]);
const CGROUP_ATTACH: Attachment =
    Attachment::tracepoint(names::CGROUP_ATTACH, &["cgroup_attach_task"]);

/// All hooks, in the order in which they are attached: bytes first, new processes last. A process that starts after
/// the last hook is attached is counted from its first instruction. Processes that started before are adopted, and
/// tracer knows that their earlier output is missing.
pub(crate) const HOOKS: &[Hook] = &[
    Hook {
        purpose: "every write and read",
        need: Need::Always,
        tp_btf: Attachment::tracepoint(names::SYS_EXIT, &["sys_exit"]),
        non_preemptible: Attachment::event(names::SYS_EXIT_EVENT, "raw_syscalls", "sys_exit"),
    },
    Hook {
        purpose: "io_uring requests",
        need: Need::Uring,
        tp_btf: Attachment::tracepoint(
            names::URING_SUBMIT,
            &["io_uring_submit_req", "io_uring_submit_sqe"],
        ),
        non_preemptible: Attachment::event(
            names::URING_SUBMIT_EVENT,
            "io_uring",
            "io_uring_submit_req",
        ),
    },
    Hook {
        purpose: "io_uring results",
        need: Need::Uring,
        tp_btf: Attachment::tracepoint(names::URING_COMPLETE, &["io_uring_complete"]),
        non_preemptible: Attachment::event(
            names::URING_COMPLETE_EVENT,
            "io_uring",
            "io_uring_complete",
        ),
    },
    Hook {
        purpose: "io_uring results without room",
        need: Need::Uring,
        tp_btf: Attachment::tracepoint(names::URING_OVERFLOW, &["io_uring_cqe_overflow"]),
        non_preemptible: Attachment::event(
            names::URING_OVERFLOW_EVENT,
            "io_uring",
            "io_uring_cqe_overflow",
        ),
    },
    Hook {
        purpose: "interrupted calls",
        need: Need::Always,
        tp_btf: SIGNAL,
        // The kernel calls it under `sighand->siglock` (`get_signal`, kernel/signal.c).
        non_preemptible: SIGNAL,
    },
    Hook {
        purpose: "ends and exit codes",
        need: Need::Always,
        tp_btf: Attachment::tracepoint(names::EXIT, &["sched_process_exit"]),
        non_preemptible: Attachment::event(names::EXIT_EVENT, "sched", "sched_process_exit"),
    },
    Hook {
        purpose: "new images",
        need: Need::Always,
        tp_btf: Attachment::tracepoint(names::EXEC, &["sched_process_exec"]),
        non_preemptible: Attachment::event(names::EXEC_EVENT, "sched", "sched_process_exec"),
    },
    Hook {
        purpose: "processes moved into a container",
        need: Need::Cgroup,
        tp_btf: CGROUP_ATTACH,
        // The kernel calls it under `trace_cgroup_path_lock` (`TRACE_CGROUP_PATH`, kernel/cgroup/cgroup-internal.h).
        non_preemptible: CGROUP_ATTACH,
    },
    Hook {
        purpose: "new processes",
        need: Need::Always,
        tp_btf: Attachment::tracepoint(names::FORK, &["sched_process_fork"]),
        // The kernel calls it under the run queue's lock (`wake_up_new_task`, kernel/sched/core.c).
        non_preemptible: Attachment::tracepoint(names::FORK_WAKEUP, &["sched_wakeup_new"]),
    },
];

/// The kernel's names of all hooks and iterators, in the order in which they are attached. Which trace event stands for
/// a tracepoint, and which hooks are left out, depends on the kernel and the target.
pub fn hook_names() -> impl Iterator<Item = &'static str> {
    let hooks = HOOKS.iter().map(|hook| match hook.tp_btf.point {
        AttachPoint::Tracepoint(names) => names.first().copied().unwrap_or_default(),
        AttachPoint::TraceEvent(_, name) => name,
    });
    // Two programs iterate over tasks.
    let iterators: BTreeSet<_> = ITERATORS.iter().map(|iterator| iterator.name).collect();
    hooks.chain(iterators)
}

/// Checks that the kernel has the fields of trace events at the offsets that the programs read.
///
/// # Errors
/// [`LoaderError::EventField`] names the first field that is elsewhere.
pub(crate) fn check_fields(mode: AttachMode, types: &KernelTypes) -> Result<(), LoaderError> {
    if mode == AttachMode::TpBtf {
        return Ok(());
    }
    trace_event::FIELDS.into_iter().try_for_each(|(event, field, offset)| {
        let found = types.offset_in(&format!("trace_event_raw_{event}"), field);
        let is_there = found == Some(offset as u64);
        is_there.then_some(()).ok_or(LoaderError::EventField { event, field })
    })
}

/// A program that the kernel runs over all its tasks or open files when user space asks for it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KernelIterator {
    /// The program's name in the object.
    pub(crate) program: &'static str,
    /// The kernel's name for what it iterates over.
    pub(crate) kind: &'static str,
    /// Its name for `tracer doctor`.
    pub(crate) name: &'static str,
    /// What it is for, in the words of `tracer doctor`.
    pub(crate) purpose: &'static str,
}

/// The iterators.
pub(crate) const ITERATORS: &[KernelIterator] = &[
    KernelIterator {
        program: names::ADOPT,
        kind: "task",
        name: "iter/task",
        purpose: "processes that are there already",
    },
    KernelIterator {
        program: names::HOLDERS,
        kind: "task_file",
        name: "iter/task_file",
        purpose: "who holds an object open",
    },
    KernelIterator {
        program: names::SWEEP,
        kind: "task",
        name: "iter/task",
        purpose: "entries of the tables that have ended",
    },
];

/// The form of this kernel's io_uring tracepoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Uring {
    /// `io_uring_complete` has a completion entry as its argument, and not the result.
    pub(crate) cqe_argument: bool,
}

/// The form of the io_uring tracepoints; `None` if they do not have the request as an argument (before 5.19), or if
/// the kernel has no io_uring.
pub(crate) fn uring(types: &KernelTypes) -> Option<Uring> {
    let submit = types
        .tracepoint_arguments("io_uring_submit_req")
        .or_else(|| types.tracepoint_arguments("io_uring_submit_sqe"));
    let complete = types.tracepoint_arguments("io_uring_complete")?;
    // Arguments of `io_uring_complete`: (ctx, req, cqe) since 6.15; (ctx, req, user_data, res, cflags, extra1,
    // extra2) since 5.19; (ctx, user_data, res[, cflags]) before. Before 5.19 `io_kiocb` had no member `cqe` either.
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

/// The mode in which programs were attached that are adopted; `otherwise` if none are.
pub(crate) fn mode_of(pins: &Pins, otherwise: AttachMode) -> AttachMode {
    let is_of = |mode: &AttachMode| {
        let mut programs = HOOKS.iter().map(|hook| hook.attachment(*mode).program);
        pins.are_adopted && programs.next().is_some_and(|program| pins.has_link(program))
    };
    [AttachMode::TpBtf, AttachMode::NonPreemptible].into_iter().find(is_of).unwrap_or(otherwise)
}

/// The first of these names that this kernel has.
fn tracepoint(names: &'static [&'static str], types: &KernelTypes) -> &'static str {
    let known = names.iter().find(|name| types.tracepoint_arguments(name).is_some());
    known.or(names.first()).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{
        AttachMode::{NonPreemptible, TpBtf},
        *,
    };
    use crate::btf::tests::kernel_with;

    #[test]
    fn the_mode_follows_from_how_the_kernel_protects_its_tracepoints() {
        for (mode, members) in [
            // Linux up to 6.12, from 6.13 on, and from 7.0 on.
            (TpBtf, &["rcu", "srcu", "ongoing"][..]),
            (TpBtf, &["rcu", "ongoing"]),
            (NonPreemptible, &["rcu", "srcu_gp", "ongoing"]),
        ] {
            let types = kernel_with("tp_transition_snapshot", members);
            assert_eq!(AttachMode::for_kernel(&types), mode, "{members:?}");
        }
        assert_eq!(AttachMode::for_kernel(&kernel_with("file", &["f_inode"])), TpBtf);
    }

    /// Attaches on a kernel that refuses these modes. Returns the result and the modes that were tried.
    fn attach(
        mode: AttachMode,
        may_change: bool,
        refused: &[AttachMode],
    ) -> (Result<AttachMode, String>, Vec<AttachMode>) {
        let mut tried = Vec::new();
        let attached = mode.attach(may_change, |mode| {
            tried.push(mode);
            if refused.contains(&mode) { Err(format!("no {mode}")) } else { Ok(()) }
        });
        (attached, tried)
    }

    #[test]
    fn the_other_mode_is_tried_when_the_chosen_one_is_refused() {
        for (mode, other) in [(TpBtf, NonPreemptible), (NonPreemptible, TpBtf)] {
            assert_eq!(attach(mode, true, &[]), (Ok(mode), vec![mode]));
            assert_eq!(attach(mode, true, &[mode]), (Ok(other), vec![mode, other]));
            let refused = (Err(format!("no {mode}")), vec![mode, other]);
            assert_eq!(attach(mode, true, &[mode, other]), refused);
        }
    }

    #[test]
    fn a_mode_that_the_user_chose_is_not_changed() {
        assert_eq!(attach(TpBtf, false, &[TpBtf]), (Err("no tp_btf".into()), vec![TpBtf]));
    }
}
