//! All maps, with the reason for their types.

use aya_ebpf::{
    bindings::BPF_F_NO_PREALLOC,
    macros::map,
    maps::{Array, HashMap, PerCpuArray, ProgramArray, RingBuf},
};
use tracer_common::{
    event::TEXT,
    ledger::{FdKey, FdRow, LedgerKey, LedgerRow, ThreadIo, UringGroup, UringKey, UringRequest},
    limits, loss,
    loss::LossCell,
    object::{EndKey, FileKey, KnownFile, ObjectId, ReadEnd, Watch},
    process::ProcessEntry,
    sweep,
};

use crate::{
    capture::{self, Capturing, stored::Stored},
    syscalls::SyscallContext,
};

/// Lifecycle events. One ring for all CPUs keeps their order.
#[map]
pub(crate) static EVENTS: RingBuf = RingBuf::with_byte_size(limits::RING_BYTES, 0);

/// Followed processes, by tgid. Not an LRU map: a silent eviction would make counts wrong.
#[map]
pub(crate) static PROCESSES: HashMap<u32, ProcessEntry> =
    HashMap::with_max_entries(limits::PROCESSES, BPF_F_NO_PREALLOC);

/// Negative filter of tgids: 0 means certainly not followed. One load rules out most processes of the machine.
/// Each slot counts its entries in [`PROCESSES`]. It is incremented before an insertion and decremented after a
/// removal, so it is never too low.
#[map]
pub(crate) static TGID_FILTER: Array<u64> = Array::with_max_entries(limits::TGID_FILTER_SLOTS, 0);

/// Negative filter of the inodes on which all processes count. It counts entries in [`OBJECTS`] as
/// [`TGID_FILTER`] counts entries in [`PROCESSES`].
#[map]
pub(crate) static INODE_FILTER: Array<u64> = Array::with_max_entries(limits::INODE_FILTER_SLOTS, 0);

/// The first part of the ledger: direct-mapped rows, found without a hash lookup, because process and fd
/// determine the slot. The program that inserts a slot into [`TAKEN_SLOTS`] owns it until user space removes the
/// row.
#[map]
pub(crate) static ROW_SLOTS: Array<FdRow> = Array::with_max_entries(limits::ROW_SLOTS, 0);

/// Slots of [`ROW_SLOTS`] that have a row. If two CPUs claim a slot at the same time, the insertion of one fails.
#[map]
pub(crate) static TAKEN_SLOTS: HashMap<u32, u32> =
    HashMap::with_max_entries(limits::ROW_SLOTS, BPF_F_NO_PREALLOC);

/// The second part of the ledger: rows whose slot was taken, found by process and fd with one short key.
/// Shared rather than per CPU: rows are many and short-lived, and one atomic add is cheaper than memory
/// for every CPU. Not preallocated, so that an idle tracer uses little memory.
#[map]
pub(crate) static FD_ROWS: HashMap<FdKey, FdRow> =
    HashMap::with_max_entries(limits::LEDGER_ROWS, BPF_F_NO_PREALLOC);

/// The third part of the ledger: rows of fds that pointed to another object before.
#[map]
pub(crate) static LEDGER: HashMap<LedgerKey, LedgerRow> =
    HashMap::with_max_entries(limits::LATER_ROWS, BPF_F_NO_PREALLOC);

/// Watched objects: every process that transfers bytes to or from one of them is counted.
#[map]
pub(crate) static OBJECTS: HashMap<ObjectId, Watch> =
    HashMap::with_max_entries(limits::OBJECTS, BPF_F_NO_PREALLOC);

/// Known files whose inode number does not identify them.
#[map]
pub(crate) static FILES: HashMap<FileKey, KnownFile> =
    HashMap::with_max_entries(limits::OBJECTS, BPF_F_NO_PREALLOC);

/// Read ends whose close is reported. They are stored because a closed fd no longer leads to its object. A close,
/// an exec or a sweep removes a read end; user space removes those of ended processes.
#[map]
pub(crate) static READ_ENDS: HashMap<EndKey, ReadEnd> =
    HashMap::with_max_entries(limits::READ_ENDS, BPF_F_NO_PREALLOC);

/// Counts of what could not be recorded, by reason.
#[map]
pub(crate) static LOSSES: PerCpuArray<LossCell> = PerCpuArray::with_max_entries(loss::COUNT, 0);

/// Target cgroups by id (the inode number of their directory).
#[map]
pub(crate) static CGROUPS: HashMap<u64, u32> = HashMap::with_max_entries(64, 0);

/// Processes that become targets when they execute a program ([`crate::targets::adopt::is_awaited`]).
#[map]
pub(crate) static AWAITED: HashMap<u32, u32> = HashMap::with_max_entries(limits::AWAITED, 0);

/// io_uring requests in flight, by the address of the request. A completion, the next submission at the same
/// address, or a sweep after the owner's end removes an entry.
#[map]
pub(crate) static URING: HashMap<u64, UringRequest> =
    HashMap::with_max_entries(limits::URING_REQUESTS, BPF_F_NO_PREALLOC);

/// The requests of [`URING`] by what a completion without a request tells. The last request of a group to leave
/// [`URING`] removes its group.
#[map]
pub(crate) static URING_GROUPS: HashMap<UringKey, UringGroup> =
    HashMap::with_max_entries(limits::URING_REQUESTS, BPF_F_NO_PREALLOC);

/// Calls that a signal interrupted, by tid. Whether the kernel restarts a call is known when the signal is
/// delivered. An entry is removed then, when the thread's next call returns, or when the thread ends.
#[map]
pub(crate) static INTERRUPTED: HashMap<u32, LedgerKey> =
    HashMap::with_max_entries(limits::PROCESSES, BPF_F_NO_PREALLOC);

/// What the kernel had counted for a supervised or traced thread at its latest call, by tid ([`crate::syscalls::witness`]). The
/// exit hook removes an entry when the thread ends. If it did not run, the next thread with this tid replaces the entry,
/// or a full sweep removes it.
#[map]
pub(crate) static THREAD_IO: HashMap<u32, ThreadIo> =
    HashMap::with_max_entries(limits::PROCESSES, BPF_F_NO_PREALLOC);

/// 1 while existing processes are being adopted. The fork hook then also checks older ancestors.
#[map]
pub(crate) static ADOPTING: Array<u32> = Array::with_max_entries(1, 0);

/// Number of processes that the iterator has adopted. User space repeats the iterator until it stops growing.
#[map]
pub(crate) static ADOPTED: Array<u64> = Array::with_max_entries(1, 0);

/// Tgid of tracer itself, which never becomes a target. A map and no constant: another tracer can adopt the programs.
#[map]
pub(crate) static OWN_TGID: Array<u32> = Array::with_max_entries(1, 0);

/// The question and the answer of a sweep.
#[map]
pub(crate) static SWEEP_RUN: Array<sweep::Run> = Array::with_max_entries(1, 0);

/// Scratch memory to build records in. One slot per program is enough, because a program cannot interrupt itself.
#[map]
pub(crate) static SCRATCH: PerCpuArray<Scratch> = PerCpuArray::with_max_entries(SCRATCH_SLOTS, 0);

/// The current call on the slow path, shared by the functions that process it.
#[map]
pub(crate) static SYSCALL_CONTEXT: PerCpuArray<SyscallContext> =
    PerCpuArray::with_max_entries(1, 0);

/// 1 while both kinds of programs that count calls are attached ([`crate::events::once`]).
#[map]
pub(crate) static TRANSITION: Array<u32> = Array::with_max_entries(1, 0);

/// Calls that an fexit program has counted, by tid, in a transition ([`crate::events::once`]). The program on `sys_exit`, which
/// the same call reaches next, removes an entry. User space empties the map after the transition.
#[map]
pub(crate) static COUNTED_CALLS: HashMap<u32, u32> =
    HashMap::with_max_entries(limits::THREADS, BPF_F_NO_PREALLOC);

/// Threads whose call may have begun before its function had an fexit program, by tid. User space puts them in; the
/// return of the call, or user space, removes them.
#[map]
pub(crate) static OLD_CALLS: HashMap<u32, u32> =
    HashMap::with_max_entries(limits::THREADS, BPF_F_NO_PREALLOC);

/// The program for the slow path of fexit programs. The kernel verifies it once, and not once for each function.
#[map]
pub(crate) static FEXIT_SLOW_PATH: ProgramArray = ProgramArray::with_max_entries(1, 0);

/// The same program for functions with another prototype.
#[map]
pub(crate) static FEXIT_SLOW_PATH_TOO: ProgramArray = ProgramArray::with_max_entries(1, 0);

/// How many programs are in the slow path on this CPU ([`crate::events::once`]).
#[map]
pub(crate) static IN_SLOW_PATH: PerCpuArray<u32> = PerCpuArray::with_max_entries(1, 0);

/// Captured bytes. Its size is one page if capture is off.
#[map]
pub(crate) static CAPTURE_RING: RingBuf = RingBuf::with_byte_size(limits::CAPTURE_RING_BYTES, 0);

/// Writes that are being captured, one slot for each program that captures.
#[map]
pub(crate) static CAPTURING: PerCpuArray<Capturing> =
    PerCpuArray::with_max_entries(capture::slot::COUNT, 0);

/// Buffers of io_uring requests in flight, by the address of the request.
#[map]
pub(crate) static URING_MEMORY: HashMap<u64, Stored> =
    HashMap::with_max_entries(limits::URING_REQUESTS, BPF_F_NO_PREALLOC);

/// Size of a scratch slot: the longest text, and 1 KiB for header and payload.
pub(crate) const SCRATCH_BYTES: usize = TEXT + 1024;
/// Scratch memory of one program.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
pub(crate) struct Scratch(pub(crate) [u8; SCRATCH_BYTES]);

/// Scratch slots, one per program that emits.
pub(crate) mod slot {
    pub(crate) const SYS_EXIT: u32 = 0;
    pub(crate) const FORK: u32 = 1;
    pub(crate) const EXEC: u32 = 2;
    pub(crate) const EXIT: u32 = 3;
    pub(crate) const CGROUP: u32 = 4;
    pub(crate) const URING: u32 = 5;
    pub(crate) const ADOPT: u32 = 6;
    pub(crate) const HOLDERS: u32 = 7;
    pub(crate) const READ_END: u32 = 8;
    /// A pending row ([`crate::ledger::opening`]), of `sys_exit` and of the io_uring hooks.
    pub(crate) const ROW: u32 = 9;
    pub(crate) const URING_ROW: u32 = 10;
    /// A ledger row before its insertion, for each program that creates rows.
    pub(crate) const FD_ROW: u32 = 11;
    pub(crate) const URING_FD_ROW: u32 = 12;
    pub(crate) const SIGNAL_FD_ROW: u32 = 13;
}
const SCRATCH_SLOTS: u32 = 14;
