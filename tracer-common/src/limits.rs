//! Capacities, with the reason for each number.

/// Maximum number of followed processes: twice the default `pid_max`. An option raises it.
pub const PROCESSES: u32 = 65_536;
/// Processes that are awaited at the same time: commands that one client has an engine start.
pub const AWAITED: u32 = 64;
/// Threads whose calls are told apart while two kinds of programs count. A thread more makes that time longer.
pub const THREADS: u32 = 16_384;
/// Slots of the negative filter of followed processes; a power of two.
pub const TGID_FILTER_SLOTS: u32 = 1 << 14;
/// Slots of the negative filter of watched objects; a power of two.
pub const INODE_FILTER_SLOTS: u32 = 1 << 16;
/// Direct-mapped ledger rows, found without a hash lookup; a power of two. 4,096 of them take 852 KB.
pub const ROW_SLOTS: u32 = 1 << 12;
/// Ledger rows found by fd: three (fd 0, 1 and 2) for each process, rounded up. User space removes rows of
/// ended processes while the trace runs.
pub const LEDGER_ROWS: u32 = 262_144;
/// Ledger rows of fds that pointed to another object before.
pub const LATER_ROWS: u32 = 65_536;
/// Maximum number of watched objects.
pub const OBJECTS: u32 = 65_536;
/// Maximum number of read ends whose close is reported. A pipe has one, rarely two.
pub const READ_ENDS: u32 = 65_536;
/// Maximum number of io_uring requests in flight, over all traced processes.
pub const URING_REQUESTS: u32 = 16_384;
/// Size of the event ring buffer in bytes: 4 MiB holds about 10,000 lifecycle events.
pub const RING_BYTES: u32 = 4 << 20;
/// Default size of the capture ring buffer in bytes: 32 MiB hold two writes of 16 MiB, or a fifth of a second
/// at 150 MB/s.
pub const CAPTURE_RING_BYTES: u32 = 32 << 20;
/// Bytes of a process's arguments that are kept. Linux allows 6 MiB of them, and a report shows far less than 4 KiB.
pub const ARGV: usize = 4096;
/// Bytes of a path that an event contains; a power of two.
pub const PATH: usize = 1024;
/// Maximum length of the text of a fact (socket address, executable path), in bytes.
pub const FACT: usize = 256;
/// Maximum number of facts sent for one image of a process, of all kinds but cuts of files together. Facts explain a
/// verdict; counts do not depend on them.
pub const FACTS_PER_PROCESS: u32 = 32;
/// Maximum number of cuts of files that are told one by one of one image of a process, beside its facts.
pub const CUTS_PER_PROCESS: u32 = 32;
/// `TASK_COMM_LEN`, `include/linux/sched.h`.
pub const COMM: usize = 16;
/// `UIO_MAXIOV`, `include/uapi/linux/uio.h`: maximum number of segments (or messages) in one call.
pub const IOV: u32 = 1024;
/// Maximum number of slots read to sum up a pipe's unread bytes; `pipe-max-size` is 256 pages by default. If
/// more slots are filled, the number of unread bytes is unknown.
pub const PIPE_SLOTS: u32 = 256;
/// Maximum number of socket buffers read to sum up a socket's unread bytes. A unix socket with the default send buffer
/// (`net.core.wmem_default`, 212,992 B) holds at most 277 one-byte writes. If more are queued, the number of unread
/// bytes is unknown.
pub const SKBS: u32 = 512;
/// Maximum number of buffers (`struct tty_buffer`, at least 256 B each) read to sum up a terminal's unread bytes. A
/// pty has 64 KiB of them at most.
pub const TTY_BUFFERS: u32 = 256;
/// Number of fds without a bit of their own that one loop checks after `close_range(2)` or `execve(2)`.
pub const CLOSE_RANGE: u32 = 64;
/// Number of these loops: 1,024 fds, the usual limit of a process.
pub const CLOSE_RANGE_BLOCKS: u32 = 16;
/// Maximum number of cgroup levels walked upwards. Deeper nesting does not occur in practice.
pub const CGROUP_DEPTH: u32 = 32;
