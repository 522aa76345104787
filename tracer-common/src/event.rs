//! Lifecycle events: the records of the ring buffer.
//!
//! A record is a [`Header`], the payload that `Header::kind` selects, and `Header::text_len` bytes of
//! text. No write sends a record: the ledger counts the bytes.

use zerocopy::{FromBytes, IntoBytes};

use crate::{
    id::ProcessId,
    ledger::LedgerKey,
    limits,
    object::{FdState, ObjectId, QueueState, SocketState, TtyState},
};

/// Record kinds, [`Header::kind`].
pub mod kind {
    /// Payload [`super::Fork`].
    pub const FORK: u32 = 1;
    /// Payload [`super::Image`], text: argv. A process replaced its image.
    pub const EXEC: u32 = 2;
    /// Payload [`super::Exit`].
    pub const EXIT: u32 = 3;
    /// Payload [`super::Object`], text: path components or socket path.
    pub const OBJECT: u32 = 4;
    /// Payload [`super::FirstIo`].
    pub const FIRST_IO: u32 = 5;
    /// Payload [`super::Fact`], text: depends on the fact.
    pub const FACT: u32 = 6;
    /// Payload [`super::Image`], no text. The process existed before the hooks were attached.
    pub const ADOPTED: u32 = 7;
    /// Payload [`super::Holder`].
    pub const HOLDER: u32 = 8;
    /// Payload [`super::Holder`]: the fd was just closed; `state`, `queue` and `incoming` describe what it pointed to.
    pub const CLOSED: u32 = 9;
    /// Payload [`super::Holder`]: a target created a pipe or a pair of sockets; sent for each read
    /// end.
    pub const CREATED: u32 = 10;
    /// Payload [`super::Holder`]: a process ends with this read end open; sent before [`EXIT`].
    pub const LEFT: u32 = 11;
}

/// The start of every record.
#[repr(C)]
#[derive(FromBytes, IntoBytes, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// `bpf_ktime_get_boot_ns`: nanoseconds since boot, comparable with `ProcessId::start_ns`.
    pub time_ns: u64,
    /// One of [`kind`].
    pub kind: u32,
    /// Bytes of text after the payload.
    pub text_len: u32,
}

/// A target created a process.
#[repr(C)]
#[derive(FromBytes, IntoBytes, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fork {
    /// The process that called `fork`, `vfork` or `clone`.
    pub parent: ProcessId,
    /// The new process.
    pub child: ProcessId,
    /// The child's pid inside its innermost pid namespace.
    pub ns_pid: u32,
    /// `ROLE_*` of the child.
    pub role: u32,
    /// The child's name (`task_struct.comm`).
    pub comm: [u8; limits::COMM],
}

/// A process and its image, sent at exec and at adoption.
#[repr(C)]
#[derive(FromBytes, IntoBytes, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Image {
    /// The process.
    pub process: ProcessId,
    /// Its parent at the time of the event.
    pub parent: ProcessId,
    /// The pid inside the innermost pid namespace.
    pub ns_pid: u32,
    /// `ROLE_*`.
    pub role: u32,
    /// Length of argv in the process; larger than the text if that was truncated.
    pub argv_len: u32,
    /// The low half of the id of its cgroup in the hierarchy of the target cgroups; 0 without target cgroups.
    pub cgroup: u32,
    /// Bytes that the kernel has counted as written by the process so far, or [`NO_COUNT`].
    pub written: u64,
    /// Name of the process (`task_struct.comm`).
    pub comm: [u8; limits::COMM],
    /// What fd 0, 1 and 2 point to.
    pub stdio: [FdState; 3],
}

/// Bytes that the kernel has counted for a process, if they are not known.
pub const NO_COUNT: u64 = u64::MAX;

/// The last thread of a process ended.
#[repr(C)]
#[derive(FromBytes, IntoBytes, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exit {
    /// The process.
    pub process: ProcessId,
    /// Status as `waitpid` returns it: `code << 8`, or the signal number with `0x80` for a core dump.
    pub status: u32,
    /// `ROLE_*`.
    pub role: u32,
    /// Name of the process (`task_struct.comm`).
    pub comm: [u8; limits::COMM],
    /// What fd 0, 1 and 2 point to at the end.
    pub stdio: [FdState; 3],
    /// As [`Object::queue`], of the objects behind fd 0, 1 and 2 at the end.
    pub queues: [QueueState; 3],
    /// As [`Object::incoming`], of the same objects.
    pub incoming: [QueueState; 3],
    /// `inode.i_size` of the regular files behind them, else 0.
    pub sizes: [u64; 3],
    /// 1 for each of these files that has no name any more (`inode.i_nlink` is 0), else 0.
    pub removed: [u32; 3],
    /// Number of writes that a file system refused, among those that `other_calls` counts if they succeed.
    pub other_failed: u32,
    /// The errno of the latest of them.
    pub other_errno: u32,
    /// 1 + the fd of a write that a signal had interrupted, and that the last thread has not begun again; 0 for none.
    pub interrupted: u32,
    /// Bytes written to objects that are not watched, through fds that are not of interest.
    pub other_bytes: u64,
    /// Number of calls that wrote `other_bytes`.
    pub other_calls: u64,
    /// Bytes that the kernel has counted as written by the process, or [`NO_COUNT`]: `wchar` in proc_pid_io(5), but
    /// without those of children that it has waited for.
    pub written: u64,
}

/// An object became watched.
#[repr(C)]
#[derive(FromBytes, IntoBytes, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default))]
pub struct Object {
    /// The object.
    pub id: ObjectId,
    /// The process through which it was first seen.
    pub process: ProcessId,
    /// The fd through which it was first seen; -1 for the peer of another object.
    pub fd: i32,
    /// `inode.i_mode`.
    pub mode: u32,
    /// `inode.i_rdev`, kernel encoding (`major << 20 | minor`).
    pub rdev: u32,
    /// `file.f_flags`.
    pub flags: u32,
    /// `inode.i_size` in bytes.
    pub size: u64,
    /// Bytes of the write through which it was first seen. `size` and `queue` already include them, and so
    /// does the ledger.
    pub in_flight: u64,
    /// Bytes of the read through which it was first seen. `incoming` (of a pipe: `queue`) no
    /// longer includes them, but the ledger does.
    pub taken: u64,
    /// `super_block.s_magic` (`include/uapi/linux/magic.h`), 0 when unreadable.
    pub magic: u64,
    /// `inode.i_nlink`; 0 for a deleted file.
    pub nlink: u32,
    /// [`text::NONE`], [`text::COMPONENTS`] or [`text::UNIX`].
    pub text_kind: u32,
    /// Bytes that were written to it: in the pipe, or in the receive queue of its peer. All zero for objects without a
    /// queue.
    #[cfg_attr(feature = "serde", serde(rename = "pipe"))]
    pub queue: QueueState,
    /// Bytes that were written to its peer: the object's own receive queue. All zero for a pipe.
    pub incoming: QueueState,
    /// State of the terminal; all zero for other objects.
    pub tty: TtyState,
    /// State of the socket; all zero for other objects.
    pub socket: SocketState,
    /// The peer, if it was seen first: the other half of the pty, or the connected unix socket.
    pub joined: ObjectId,
    /// Hop: number of readers between the target and the writers of this object
    /// ([`crate::object::watch`]).
    pub hop: u32,
    /// Always zero.
    pub zero: u32,
}

/// Meaning of the text after an [`Object`].
pub mod text {
    /// No text.
    pub const NONE: u32 = 0;
    /// Path components from the file upwards, each terminated by NUL; the file name comes first.
    pub const COMPONENTS: u32 = 1;
    /// `sockaddr_un.sun_path` of the socket or its peer; a leading NUL marks an abstract name.
    pub const UNIX: u32 = 2;
    /// As [`COMPONENTS`], but truncated: the components nearest to the root are missing.
    pub const CUT_COMPONENTS: u32 = 3;
}

/// The first transfer of a new ledger row.
#[repr(C)]
#[derive(FromBytes, IntoBytes, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default))]
pub struct FirstIo {
    /// The new row.
    pub key: LedgerKey,
    /// The call's result: bytes, or a negative errno.
    pub result: i64,
    /// [`crate::op`] code.
    pub op: u32,
    /// `ROLE_*` of the process.
    pub role: u32,
    /// Name of the process (`task_struct.comm`).
    #[cfg_attr(feature = "serde", serde(skip))]
    pub comm: [u8; limits::COMM],
}

/// A fact about a process that helps to explain a verdict.
#[repr(C)]
#[derive(FromBytes, IntoBytes, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default))]
pub struct Fact {
    /// The process.
    pub process: ProcessId,
    /// One of [`fact`].
    pub fact: u32,
    /// The fd, or -1 if the fact is not about one.
    pub fd: i32,
    /// Positive errno, 0 for success.
    pub errno: u32,
    /// Meaning depends on the fact.
    pub detail: u32,
    /// What the fd points to now, for facts that change it.
    pub state: FdState,
}

/// Kinds of facts, [`Fact::fact`].
pub mod fact {
    /// `ioctl(TCGETS)`: the program checked whether the fd is a terminal; `errno` is the result.
    pub const TTY_ASKED: u32 = 1;
    /// `connect` failed; text: the raw `sockaddr`.
    pub const CONNECT_FAILED: u32 = 2;
    /// `execve` failed; text: the path.
    pub const EXEC_FAILED: u32 = 3;
    /// `dup`, `dup2`, `dup3`, `fcntl(F_DUPFD)` or `open` changed what fd 0, 1 or 2 points to.
    pub const FD_REPLACED: u32 = 4;
    /// fd 0, 1 or 2 was closed.
    pub const FD_CLOSED: u32 = 5;
    /// `O_NONBLOCK` was changed on the shared file description; `detail` is 1 if it was set.
    pub const NONBLOCK: u32 = 6;
    /// The limit of [`crate::limits::FACTS_PER_PROCESS`] facts per image is reached; no more are sent.
    pub const CUT: u32 = 7;
    /// The process's tracer emulates its calls (`PTRACE_SYSEMU`): they are those of a guest; text: name of the tracer.
    pub const EMULATED: u32 = 8;
    /// A call replaced an fd while another thread may have been writing or reading through it. `fd`: -1 if there may be several
    /// such fds from 3 on.
    pub const FD_RACED: u32 = 9;
    /// A watched file was cut, or what is in it was changed: `ftruncate`, `open` with `O_TRUNC`, `fallocate`. `fd` leads to
    /// it; `detail` is one of [`cut`](mod@super::cut).
    pub const FILE_CUT: u32 = 10;
    /// The program asked what kind of file its fd 1 leads to (`fstat`), as a C library does at the first print.
    pub const STDOUT_STAT: u32 = 11;
}

/// What a [`fact::FILE_CUT`] took from the file, [`Fact::detail`].
pub mod cut {
    /// What was behind some length. The size of the file tells how much.
    pub const SHORTENED: u32 = 0;
    /// All.
    pub const EMPTIED: u32 = 1;
    /// Something inside of it (`fallocate(2)`): its size does not tell how much.
    pub const INSIDE: u32 = 2;
    /// The process cuts files so often that its cuts are not told one by one any more: of this file, any number may follow.
    pub const OFTEN: u32 = 3;
}

/// A process has an object open, has created it, or has closed it.
#[repr(C)]
#[derive(FromBytes, IntoBytes, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default))]
pub struct Holder {
    /// The process.
    pub process: ProcessId,
    /// The object and the flags of the open file.
    pub state: FdState,
    /// The fd number.
    pub fd: i32,
    /// `ROLE_*`, or 0 for a process that is not followed.
    pub role: u32,
    /// Name of the process (`task_struct.comm`).
    #[cfg_attr(feature = "serde", serde(skip))]
    pub comm: [u8; limits::COMM],
    /// As [`Object::queue`].
    #[cfg_attr(feature = "serde", serde(rename = "pipe"))]
    pub queue: QueueState,
    /// As [`Object::incoming`].
    pub incoming: QueueState,
    /// `inode.i_size` of a regular file, else 0.
    pub size: u64,
    /// Inode of the connected unix socket at the other end; 0 when there is none.
    pub peer_ino: u64,
    /// 1 for a regular file that has no name any more (`inode.i_nlink` is 0), else 0.
    pub removed: u32,
    /// Always zero.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub zero: u32,
}

/// Maximum length of the text in a record, in bytes.
pub const TEXT: usize = limits::ARGV;
