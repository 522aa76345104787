//! The table of hooks: what is attached, to what, and what may be missing.

use std::fmt::{self, Display};

use tracer_common::{names, trace_event};

use crate::{LoaderError, btf::KernelTypes};

/// One hook.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hook {
    /// What it gives, for `tracer doctor`.
    pub(crate) purpose: &'static str,
    /// When it is attached.
    pub(crate) need: Need,
    /// In [`AttachMode::TpBtf`].
    tp_btf: Place,
    /// In [`AttachMode::NonPreemptible`].
    non_preemptible: Place,
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

/// What most programs are attached to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttachMode {
    /// Typed tracepoints (`tp_btf`): the cheapest. Their programs run with preemption off before Linux 7.0.
    TpBtf,
    /// What runs with preemption off on every kernel: trace events, and typed tracepoints that lie under a
    /// spinlock.
    NonPreemptible,
}

impl AttachMode {
    /// The cheapest mode that misses no call on a kernel with these types.
    ///
    /// From Linux 7.0 on, programs on typed tracepoints can be preempted. While one rests, the kernel skips that
    /// program for every other task on the CPU (`__bpf_trace_run`, kernel/trace/bpf_trace.c). The same change
    /// protects the tracepoints by SRCU-fast (commit a46023d5616e), and so `struct tp_transition_snapshot`
    /// (kernel/tracepoint.c) has a member `srcu_gp`.
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

    /// Attaches in this mode or, where that is refused and `may_change`, in the other one. Returns the mode in which
    /// it worked.
    ///
    /// # Errors
    /// That of this mode: the other one is for kernels that do not do what their types promise.
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

/// As `--hooks` takes it.
impl Display for AttachMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TpBtf => "tp_btf",
            Self::NonPreemptible => "non-preemptible",
        })
    }
}

impl Hook {
    /// What is attached for it.
    pub(crate) fn place(&self, mode: AttachMode) -> Place {
        match mode {
            AttachMode::TpBtf => self.tp_btf,
            AttachMode::NonPreemptible => self.non_preemptible,
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
        tp_btf: Place::tracepoint(names::SYS_EXIT, &["sys_exit"]),
        non_preemptible: Place::event(names::SYS_EXIT_EVENT, "raw_syscalls", "sys_exit"),
    },
    Hook {
        purpose: "io_uring requests",
        need: Need::Uring,
        tp_btf: Place::tracepoint(
            names::URING_SUBMIT,
            &["io_uring_submit_req", "io_uring_submit_sqe"],
        ),
        non_preemptible: Place::event(names::URING_SUBMIT_EVENT, "io_uring", "io_uring_submit_req"),
    },
    Hook {
        purpose: "io_uring results",
        need: Need::Uring,
        tp_btf: Place::tracepoint(names::URING_COMPLETE, &["io_uring_complete"]),
        non_preemptible: Place::event(names::URING_COMPLETE_EVENT, "io_uring", "io_uring_complete"),
    },
    Hook {
        purpose: "interrupted calls",
        need: Need::Always,
        tp_btf: SIGNAL,
        // Under `sighand->siglock` (`get_signal`, kernel/signal.c).
        non_preemptible: SIGNAL,
    },
    Hook {
        purpose: "ends and exit codes",
        need: Need::Always,
        tp_btf: Place::tracepoint(names::EXIT, &["sched_process_exit"]),
        non_preemptible: Place::event(names::EXIT_EVENT, "sched", "sched_process_exit"),
    },
    Hook {
        purpose: "new images",
        need: Need::Always,
        tp_btf: Place::tracepoint(names::EXEC, &["sched_process_exec"]),
        non_preemptible: Place::event(names::EXEC_EVENT, "sched", "sched_process_exec"),
    },
    Hook {
        purpose: "processes moved into a container",
        need: Need::Cgroup,
        tp_btf: CGROUP_ATTACH,
        // Under `trace_cgroup_path_lock` (`TRACE_CGROUP_PATH`, kernel/cgroup/cgroup-internal.h).
        non_preemptible: CGROUP_ATTACH,
    },
    Hook {
        purpose: "new processes",
        need: Need::Always,
        tp_btf: Place::tracepoint(names::FORK, &["sched_process_fork"]),
        // Under the run queue's lock (`wake_up_new_task`, kernel/sched/core.c).
        non_preemptible: Place::tracepoint(names::FORK_WAKEUP, &["sched_wakeup_new"]),
    },
];

/// Checks that the fields of trace events are where the programs read them.
///
/// # Errors
/// [`LoaderError::EventField`] names the first one that is not.
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
    Walk {
        program: names::SWEEP,
        kind: "task",
        name: "iter/task",
        purpose: "entries of the tables that have ended",
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
            // Up to Linux 6.12; from 6.13; from 7.0.
            (TpBtf, &["rcu", "srcu", "ongoing"][..]),
            (TpBtf, &["rcu", "ongoing"]),
            (NonPreemptible, &["rcu", "srcu_gp", "ongoing"]),
        ] {
            let types = kernel_with("tp_transition_snapshot", members);
            assert_eq!(AttachMode::for_kernel(&types), mode, "{members:?}");
        }
        assert_eq!(AttachMode::for_kernel(&kernel_with("file", &["f_inode"])), TpBtf);
    }

    /// Attaches where the kernel refuses these modes; the result, and what was tried.
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
