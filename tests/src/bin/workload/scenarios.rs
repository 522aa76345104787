//! Scenarios: workloads that are more than one write path, by name.

mod answered;
mod bloat;
mod blocked;
mod captured;
mod errors;
mod hidden;
mod identity;
mod interrupted;
mod lost;
mod many;
mod pids;
mod queues;
mod random;
mod read_ends;
mod reads;
mod reopened;
mod replaced;
mod side;
mod storm;
mod threads;
mod trees;
mod unseen;
mod uring_ends;
mod uring_reads;
mod victims;

use anyhow::Result;

use crate::ledger::Ledger;

/// When a workload waits at the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gate {
    /// Before the scenario starts.
    AtStart,
    /// In the scenario itself.
    Own,
}

/// A scenario.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scenario {
    /// When it waits.
    pub(crate) gate: Gate,
    /// Runs it.
    pub(crate) run: fn(&mut Ledger) -> Result<()>,
}

/// Finds a scenario by name.
pub(crate) fn find(name: &str) -> Option<Scenario> {
    let own = |run| Scenario { gate: Gate::Own, run };
    let gated = |run: fn(&mut Ledger) -> Result<()>| Scenario { gate: Gate::AtStart, run };
    Some(match name {
        "epipe" => gated(errors::epipe),
        "eagain" => gated(errors::eagain),
        "eagain-overcome" => gated(errors::eagain_overcome),
        "ebadf" => gated(errors::ebadf),
        "enospc" => gated(errors::enospc),
        "eio" => gated(errors::eio),
        "short" => gated(errors::short),
        "zero" => gated(errors::zero),
        "eintr-pipe" => gated(interrupted::pipe),
        "eintr-socket" => gated(interrupted::socket),
        "restarted" => gated(interrupted::restarted),
        "stopped" => gated(interrupted::stopped),
        "sigkill" => gated(victims::killed_while_blocked),
        "sigpipe" => gated(victims::killed_by_sigpipe),
        "killed-when-interrupted" => gated(victims::killed_when_interrupted),
        "wide" => gated(trees::wide),
        "crowd" => gated(trees::crowd),
        "deep" => gated(trees::deep),
        "daemon" => gated(trees::daemon),
        "threads" => gated(threads::at_once),
        "thread-ends" => gated(threads::one_ends),
        "exec-thread" => gated(threads::exec_by_non_leader),
        "vfork-exec" => gated(replaced::vfork_exec),
        "reused-pid" => gated(pids::reused),
        "pidns" => gated(pids::new_namespace),
        "side-file" => gated(side::another_file),
        "reused-inode" => gated(side::reused_inode),
        "spliced-away" => gated(side::spliced_away),
        "held-back" => gated(side::held_back),
        "silent" => gated(side::silent),
        "uring-silent" => gated(uring_ends::silent_ends),
        "uring-own-file" => gated(uring_ends::own_file),
        "discards" => gated(uring_ends::discards),
        "trapped" => gated(answered::trapped),
        "killed-by-seccomp" => gated(answered::killed),
        "supervised" => gated(answered::supervised),
        "supervised-child" => gated(answered::supervised_child),
        "supervised-socket" => gated(answered::supervised_socket),
        "many-filters" => gated(answered::many_filters),
        "supervised-elsewhere" => gated(answered::supervised_elsewhere),
        "emulated" => gated(answered::emulated),
        "stepped" => gated(answered::stepped),
        "children" => gated(many::children),
        "pipes" => gated(many::pipes),
        "failures" => gated(many::failures),
        "partly-read" => gated(queues::partly_read),
        "partly-read-connection" => gated(queues::partly_read_connection),
        "append" => gated(reopened::append),
        "read-stdin" => gated(reopened::read_stdin),
        "random" => gated(random::run),
        "pending-before" => own(uring_reads::pending_before),
        "storm" => own(storm::run),
        "blocked" => own(blocked::at_attach),
        "before-and-after" => own(blocked::before_and_after),
        "linger" => own(blocked::linger),
        "flood" => own(captured::flood),
        "copied-program" => own(captured::copied_program),
        _ => {
            let found = lost::find(name).or_else(|| captured::find(name));
            let found = found.or_else(|| identity::find(name)).or_else(|| reads::find(name));
            let found = found.or_else(|| hidden::find(name)).or_else(|| read_ends::find(name));
            let found = found.or_else(|| unseen::find(name));
            let found = found.or_else(|| uring_reads::find(name)).map(gated);
            return found.or_else(|| bloat::find(name));
        }
    })
}
