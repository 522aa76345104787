//! Capacities, each with the reason for its number.

/// Processes followed at once. 64 Ki is the default `pid_max` doubled; raised by option.
pub const PROCESSES: u32 = 65_536;
/// Slots of the table that says at a glance that a process is not followed; a power of two.
pub const TGID_FILTER_SLOTS: u32 = 1 << 14;
/// Slots of the table that says at a glance that an object is not under watch; a power of two.
pub const INODE_FILTER_SLOTS: u32 = 1 << 16;
/// Rows that are found without a look-up; a power of two. 4,096 of them take 852 KB.
pub const ROW_SLOTS: u32 = 1 << 12;
/// Ledger rows at once: three rows (0, 1, 2) for each process, rounded up; rows of dead processes
/// are taken out while the trace runs.
pub const LEDGER_ROWS: u32 = 262_144;
/// Rows of fds that led to another object before.
pub const LATER_ROWS: u32 = 65_536;
/// Objects under watch at once.
pub const OBJECTS: u32 = 65_536;
/// Read ends whose close is told. A pipe has one, rarely two.
pub const READ_ENDS: u32 = 65_536;
/// io_uring requests in flight at once, over all traced processes.
pub const URING_REQUESTS: u32 = 16_384;
/// Ring buffer in bytes: 4 MiB holds some 10,000 lifecycle events while user space is busy.
pub const RING_BYTES: u32 = 4 << 20;
/// Ring buffer of captured bytes, unless an option says otherwise: 32 MiB hold one write of 16 MiB while
/// the one before it is still read out, or a fifth of a second at 150 MB/s.
pub const CAPTURE_RING_BYTES: u32 = 32 << 20;
/// Bytes of argv kept from the kernel at exec; user space completes longer ones from `/proc`.
pub const ARGV: usize = 1024;
/// Bytes of a path kept from the kernel.
pub const PATH: usize = 1024;
/// Bytes of a fact's text (socket address, executable path).
pub const FACT: usize = 256;
/// Facts told of one image of a process, all kinds together. They explain a verdict, they do not make
/// a count: more of them change nothing that is counted.
pub const FACTS_PER_PROCESS: u32 = 32;
/// `TASK_COMM_LEN`, `include/linux/sched.h`.
pub const COMM: usize = 16;
/// `UIO_MAXIOV`, `include/uapi/linux/uio.h`: the most segments (or messages) one call takes.
pub const IOV: u32 = 1024;
/// Slots looked at when a pipe's unread bytes are summed; `pipe-max-size` is 256 pages by default. A
/// pipe with more filled slots has no known number of unread bytes.
pub const PIPE_SLOTS: u32 = 256;
/// Fds looked up when `close_range(2)` closes many at once.
pub const CLOSE_RANGE: u32 = 64;
/// Levels of cgroups walked upwards; deeper nesting than this is unheard of.
pub const CGROUP_DEPTH: u32 = 32;
