//! Names of programs and maps, so that no string is typed on both sides.

/// Map: ring buffer of [`crate::event`] records.
pub const MAP_EVENTS: &str = "EVENTS";
/// Map: ring buffer of [`crate::capture`] records.
pub const MAP_CAPTURE: &str = "CAPTURE_RING";
/// Map: writes that are being captured, per CPU.
pub const MAP_CAPTURING: &str = "CAPTURING";
/// Map: where io_uring requests have their bytes.
pub const MAP_URING_MEMORY: &str = "URING_MEMORY";
/// Map: tgid to [`crate::process::ProcessEntry`].
pub const MAP_PROCESSES: &str = "PROCESSES";
/// Map: [`crate::ledger::LedgerKey`] to [`crate::ledger::LedgerRow`].
pub const MAP_LEDGER: &str = "LEDGER";
/// Map: [`crate::ledger::FdKey`] to [`crate::ledger::FdRow`], the rows that are found by their fd.
pub const MAP_FD_ROWS: &str = "FD_ROWS";
/// Map: [`crate::ledger::FdRow`]s by their slot.
pub const MAP_ROW_SLOTS: &str = "ROW_SLOTS";
/// Map: the slots that are taken.
pub const MAP_TAKEN_SLOTS: &str = "TAKEN_SLOTS";
/// Map: one `u64` for each slot of tgids, not 0 where a process in that slot is followed.
pub const MAP_TGID_FILTER: &str = "TGID_FILTER";
/// Map: [`crate::object::ObjectId`] to `u32`, the objects under watch.
pub const MAP_OBJECTS: &str = "OBJECTS";
/// Map: per-CPU [`crate::loss::LossCell`] by reason.
pub const MAP_LOSSES: &str = "LOSSES";
/// Map: io_uring request address to who submitted it.
pub const MAP_URING: &str = "URING";
/// Map: tid to the ledger row of a call that was interrupted and may yet be restarted.
pub const MAP_INTERRUPTED: &str = "INTERRUPTED";
/// Map: [`crate::object::EndKey`] to [`crate::object::ReadEnd`], the read ends whose close is told.
pub const MAP_READ_ENDS: &str = "READ_ENDS";
/// Map: one `u32`, 1 while existing processes are being adopted.
pub const MAP_ADOPTING: &str = "ADOPTING";
/// Map: one `u64`, how many processes the iterator has adopted.
pub const MAP_ADOPTED: &str = "ADOPTED";
/// Map: cgroup id to `u32`, the target cgroups.
pub const MAP_CGROUPS: &str = "CGROUPS";

/// Program: every syscall's return.
pub const SYS_EXIT: &str = "sys_exit";
/// Program: the same on a kernel that preempts [`SYS_EXIT`]; so are all that end like it.
pub const SYS_EXIT_EVENT: &str = "sys_exit_event";
/// Program: a process or thread is about to run for the first time.
pub const FORK_WAKEUP: &str = "process_fork_wakeup";
/// Program: an image was replaced.
pub const EXEC_EVENT: &str = "process_exec_event";
/// Program: a thread ended.
pub const EXIT_EVENT: &str = "process_exit_event";
/// Program: an io_uring request was submitted.
pub const URING_SUBMIT_EVENT: &str = "uring_submit_event";
/// Program: an io_uring request completed.
pub const URING_COMPLETE_EVENT: &str = "uring_complete_event";
/// Program: a process or thread was created.
pub const FORK: &str = "process_fork";
/// Program: an image was replaced.
pub const EXEC: &str = "process_exec";
/// Program: a thread ended.
pub const EXIT: &str = "process_exit";
/// Program: a signal is about to be handled.
pub const SIGNAL: &str = "signal_delivered";
/// Program: a task was moved into a cgroup.
pub const CGROUP_ATTACH: &str = "cgroup_attach";
/// Program: an io_uring request was submitted.
pub const URING_SUBMIT: &str = "uring_submit";
/// Program: an io_uring request completed.
pub const URING_COMPLETE: &str = "uring_complete";
/// Program: iterator that adopts the processes that were there before the hooks.
pub const ADOPT: &str = "adopt_tasks";
/// Program: run by user space to take out of the tables what has ended.
pub const SWEEP: &str = "sweep";
/// Program: iterator that lists who holds the objects under watch.
pub const HOLDERS: &str = "list_holders";
