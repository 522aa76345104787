//! Names of eBPF programs and maps, shared by both sides.

/// Map: ring buffer of [`crate::event`] records.
pub const MAP_EVENTS: &str = "EVENTS";
/// Map: ring buffer of [`crate::capture`] records.
pub const MAP_CAPTURE: &str = "CAPTURE_RING";
/// Map: writes that are being captured, per CPU.
pub const MAP_CAPTURING: &str = "CAPTURING";
/// Map: io_uring request address to the buffers of the request.
pub const MAP_URING_MEMORY: &str = "URING_MEMORY";
/// Map: tgid to [`crate::process::ProcessEntry`].
pub const MAP_PROCESSES: &str = "PROCESSES";
/// Map: [`crate::ledger::LedgerKey`] to [`crate::ledger::LedgerRow`].
pub const MAP_LEDGER: &str = "LEDGER";
/// Map: [`crate::ledger::FdKey`] to [`crate::ledger::FdRow`].
pub const MAP_FD_ROWS: &str = "FD_ROWS";
/// Map: direct-mapped [`crate::ledger::FdRow`]s, by slot ([`crate::ledger::FdKey::slot`]).
pub const MAP_ROW_SLOTS: &str = "ROW_SLOTS";
/// Map: the slots of [`MAP_ROW_SLOTS`] that have a row.
pub const MAP_TAKEN_SLOTS: &str = "TAKEN_SLOTS";
/// Map: negative filter of followed processes; 0 means that no process of the slot is followed.
pub const MAP_TGID_FILTER: &str = "TGID_FILTER";
/// Map: [`crate::object::ObjectId`] to [`crate::object::Watch`], the watched objects.
pub const MAP_OBJECTS: &str = "OBJECTS";
/// Map: [`crate::object::FileKey`] to [`crate::object::KnownFile`], files whose inode number does not identify them.
pub const MAP_FILES: &str = "FILES";
/// Map: per-CPU [`crate::loss::LossCell`] by reason.
pub const MAP_LOSSES: &str = "LOSSES";
/// Map: io_uring request address to [`crate::ledger::UringRequest`].
pub const MAP_URING: &str = "URING";
/// Map: tid to the [`crate::ledger::LedgerKey`] of an interrupted call that the kernel may restart.
pub const MAP_INTERRUPTED: &str = "INTERRUPTED";
/// Map: tid to [`crate::ledger::ThreadIo`].
pub const MAP_THREAD_IO: &str = "THREAD_IO";
/// Map: [`crate::object::EndKey`] to [`crate::object::ReadEnd`], the read ends whose close is reported.
pub const MAP_READ_ENDS: &str = "READ_ENDS";
/// Map: one `u32`, 1 while existing processes are being adopted.
pub const MAP_ADOPTING: &str = "ADOPTING";
/// Map: one `u64`, the number of processes that the iterator has adopted.
pub const MAP_ADOPTED: &str = "ADOPTED";
/// Map: one [`crate::sweep::Run`], the question and the answer of a sweep.
pub const MAP_SWEEP_RUN: &str = "SWEEP_RUN";
/// Map: one `u32`, the tgid of tracer itself.
pub const MAP_OWN_TGID: &str = "OWN_TGID";
/// Map: cgroup id to `u32`, the target cgroups.
pub const MAP_CGROUPS: &str = "CGROUPS";
/// Map: tgid to `u32`, the processes that become targets when they execute a program.
pub const MAP_AWAITED: &str = "AWAITED";
/// Map: one `u32`, 1 while both kinds of programs that count bytes are attached.
pub const MAP_TRANSITION: &str = "TRANSITION";
/// Map: tid to `u32`, the calls that [`FEXIT`] has counted and [`SYS_EXIT`] has not seen yet.
pub const MAP_COUNTED_CALLS: &str = "COUNTED_CALLS";
/// Map: tid to `u32`, the threads whose call may have begun before [`FEXIT`] was attached to its function.
pub const MAP_OLD_CALLS: &str = "OLD_CALLS";
/// Map: the program [`FEXIT_SLOW`], which [`FEXIT`] continues with.
pub const MAP_FEXIT_SLOW: &str = "FEXIT_SLOW_PATH";
/// Map: as [`MAP_FEXIT_SLOW`], for [`FEXIT_TOO`].
pub const MAP_FEXIT_SLOW_TOO: &str = "FEXIT_SLOW_PATH_TOO";

/// Program: a syscall returned.
pub const SYS_EXIT: &str = "sys_exit";
/// Program: the kernel's function of a syscall returned.
pub const FEXIT: &str = "call_returned";
/// Program: as [`FEXIT`], for functions with another prototype.
pub const FEXIT_TOO: &str = "call_returned_too";
/// Program: continues [`FEXIT`] for calls on the slow path.
pub const FEXIT_SLOW: &str = "call_returned_slow";
/// Program: [`SYS_EXIT`] for kernels that can preempt it. The other `*_EVENT` programs are such variants too.
pub const SYS_EXIT_EVENT: &str = "sys_exit_event";
/// Program: the variant of [`FORK`]; a process or thread is about to run for the first time.
pub const FORK_WAKEUP: &str = "process_fork_wakeup";
/// Program: a process replaced its image.
pub const EXEC_EVENT: &str = "process_exec_event";
/// Program: a thread ended.
pub const EXIT_EVENT: &str = "process_exit_event";
/// Program: an io_uring request was submitted.
pub const URING_SUBMIT_EVENT: &str = "uring_submit_event";
/// Program: an io_uring request completed.
pub const URING_COMPLETE_EVENT: &str = "uring_complete_event";
/// Program: the completion of an io_uring request found no room in the ring.
pub const URING_OVERFLOW_EVENT: &str = "uring_overflow_event";
/// Program: as [`URING_OVERFLOW_EVENT`].
pub const URING_OVERFLOW: &str = "uring_overflow";
/// Program: a process or thread was created.
pub const FORK: &str = "process_fork";
/// Program: a process replaced its image.
pub const EXEC: &str = "process_exec";
/// Program: a thread ended.
pub const EXIT: &str = "process_exit";
/// Program: a signal is delivered.
pub const SIGNAL: &str = "signal_delivered";
/// Program: a task was moved into a cgroup.
pub const CGROUP_ATTACH: &str = "cgroup_attach";
/// Program: an io_uring request was submitted.
pub const URING_SUBMIT: &str = "uring_submit";
/// Program: an io_uring request completed.
pub const URING_COMPLETE: &str = "uring_complete";
/// Program: iterator that adopts processes that existed before the hooks were attached.
pub const ADOPT: &str = "adopt_tasks";
/// Program: removes ended entries from the maps; user space runs it.
pub const SWEEP: &str = "sweep";
/// Program: iterator that lists the open fds of watched objects.
pub const HOLDERS: &str = "list_holders";
