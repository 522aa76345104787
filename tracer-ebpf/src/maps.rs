//! Every map, with why it has this type.

use aya_ebpf::{
    bindings::BPF_F_NO_PREALLOC,
    macros::map,
    maps::{Array, HashMap, PerCpuArray, RingBuf},
};
use tracer_common::{
    ledger::{FdKey, FdRow, LedgerKey, LedgerRow, UringRequest},
    limits, loss,
    loss::LossCell,
    object::{EndKey, ObjectId, ReadEnd, Watch},
    process::ProcessEntry,
};

use crate::{
    capture::{self, Capturing, stored::Stored},
    syscalls::SyscallContext,
};

/// Lifecycle events. One ring for all CPUs keeps their order.
#[map]
pub(crate) static EVENTS: RingBuf = RingBuf::with_byte_size(limits::RING_BYTES, 0);

/// Who is followed, by tgid. Never an LRU: forgetting a process silently would be a wrong count.
#[map]
pub(crate) static PROCESSES: HashMap<u32, ProcessEntry> =
    HashMap::with_max_entries(limits::PROCESSES, BPF_F_NO_PREALLOC);

/// Negative filter: 0 means that no process in this slot of tgids is followed, so one load sends most of the
/// machine away. Each slot counts its entries in [`PROCESSES`]: up before one is put in, down after one is taken
/// out, so it is never too low.
#[map]
pub(crate) static TGID_FILTER: Array<u64> = Array::with_max_entries(limits::TGID_FILTER_SLOTS, 0);

/// Negative filter of the inodes that are under watch for every process; counts entries in [`OBJECTS`] as
/// [`TGID_FILTER`] does those in [`PROCESSES`].
#[map]
pub(crate) static INODE_FILTER: Array<u64> = Array::with_max_entries(limits::INODE_FILTER_SLOTS, 0);

/// The first part of the ledger: rows that are found without a look-up, because their place follows from
/// process and fd. A slot belongs to whoever put it into [`TAKEN_SLOTS`], until user space takes the row out.
#[map]
pub(crate) static ROW_SLOTS: Array<FdRow> = Array::with_max_entries(limits::ROW_SLOTS, 0);

/// Seats that are taken: of two that come at the same moment, a hash map lets in one.
#[map]
pub(crate) static TAKEN_SLOTS: HashMap<u32, u32> =
    HashMap::with_max_entries(limits::ROW_SLOTS, BPF_F_NO_PREALLOC);

/// The ledger's second part: rows whose slot was taken, found by process and fd with one short look-up.
/// Shared rather than per CPU: rows are many and short-lived, and one atomic add is cheaper than memory
/// for every CPU. Not preallocated, so an idle tracer stays small.
#[map]
pub(crate) static FD_ROWS: HashMap<FdKey, FdRow> =
    HashMap::with_max_entries(limits::LEDGER_ROWS, BPF_F_NO_PREALLOC);

/// The rest of the ledger: rows of fds that led to something else before.
#[map]
pub(crate) static LEDGER: HashMap<LedgerKey, LedgerRow> =
    HashMap::with_max_entries(limits::LATER_ROWS, BPF_F_NO_PREALLOC);

/// Objects under watch: whoever transfers bytes to or from one of them is counted.
#[map]
pub(crate) static OBJECTS: HashMap<ObjectId, Watch> =
    HashMap::with_max_entries(limits::OBJECTS, BPF_F_NO_PREALLOC);

/// Reading ends whose close is told: a closed fd no longer leads to what it was. A close, an exec or a sweep takes
/// an end out; user space takes out those of processes that ended.
#[map]
pub(crate) static READ_ENDS: HashMap<EndKey, ReadEnd> =
    HashMap::with_max_entries(limits::READ_ENDS, BPF_F_NO_PREALLOC);

/// What could not be recorded, by reason.
#[map]
pub(crate) static LOSSES: PerCpuArray<LossCell> = PerCpuArray::with_max_entries(loss::COUNT, 0);

/// Target cgroups by id (the inode number of their directory).
#[map]
pub(crate) static CGROUPS: HashMap<u64, u32> = HashMap::with_max_entries(64, 0);

/// io_uring requests in flight, by the address of the request. A completion, the next submission at the same
/// address, or a sweep after the owner's end takes an entry out.
#[map]
pub(crate) static URING: HashMap<u64, UringRequest> =
    HashMap::with_max_entries(limits::URING_REQUESTS, BPF_F_NO_PREALLOC);

/// Calls that a signal interrupted, by tid: whether the kernel restarts them is only known when the
/// signal is delivered. An entry lasts until then, or until the thread's next call returns, or the thread ends.
#[map]
pub(crate) static INTERRUPTED: HashMap<u32, LedgerKey> =
    HashMap::with_max_entries(limits::PROCESSES, BPF_F_NO_PREALLOC);

/// 1 while existing processes are being adopted: forks then look further up for a target.
#[map]
pub(crate) static ADOPTING: Array<u32> = Array::with_max_entries(1, 0);

/// How many processes the iterator has adopted so far; user space repeats until it stands still.
#[map]
pub(crate) static ADOPTED: Array<u64> = Array::with_max_entries(1, 0);

/// Room to build a record in; one slot for each program, because a program cannot interrupt itself.
#[map]
pub(crate) static SCRATCH: PerCpuArray<Scratch> = PerCpuArray::with_max_entries(SCRATCH_SLOTS, 0);

/// The call that goes the long way, between the functions that look at it.
#[map]
pub(crate) static SYSCALL_CONTEXT: PerCpuArray<SyscallContext> =
    PerCpuArray::with_max_entries(1, 0);

/// Captured bytes; one page long while nothing is captured.
#[map]
pub(crate) static CAPTURE_RING: RingBuf = RingBuf::with_byte_size(limits::CAPTURE_RING_BYTES, 0);

/// Writes that are being captured, one slot for each program that sends any.
#[map]
pub(crate) static CAPTURING: PerCpuArray<Capturing> =
    PerCpuArray::with_max_entries(capture::place::COUNT, 0);

/// Where io_uring requests in flight have their bytes, by the address of the request.
#[map]
pub(crate) static URING_MEMORY: HashMap<u64, Stored> =
    HashMap::with_max_entries(limits::URING_REQUESTS, BPF_F_NO_PREALLOC);

/// The largest record, rounded up to a power of two so that its length can be masked.
pub(crate) const SCRATCH_BYTES: usize = 2048;
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
    /// A row that is being opened, by `sys_exit` and by the io_uring hooks.
    pub(crate) const ROW: u32 = 9;
    pub(crate) const URING_ROW: u32 = 10;
    /// A ledger row before it goes into its map, for each program that makes any.
    pub(crate) const FD_ROW: u32 = 11;
    pub(crate) const URING_FD_ROW: u32 = 12;
    pub(crate) const SIGNAL_FD_ROW: u32 = 13;
}
const SCRATCH_SLOTS: u32 = 14;
