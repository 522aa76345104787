//! Lifecycle facts that travel through the ring buffer, one record each.
//!
//! A record is a [`Header`] followed by the payload that `Header::kind` names, followed by as many
//! text bytes as the payload says. Nothing here is sent per write: bytes are counted in the ledger.

use zerocopy::{FromBytes, IntoBytes};

use crate::{
    assert_layout,
    id::ProcessId,
    ledger::LedgerKey,
    limits,
    object::{FdState, ObjectId, PipeState, SocketState, TtyState},
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
    /// Payload [`super::Fact`], text: what the fact is about.
    pub const FACT: u32 = 6;
    /// Payload [`super::Image`], no text. A process was there before the hooks.
    pub const ADOPTED: u32 = 7;
    /// Payload [`super::Holder`].
    pub const HOLDER: u32 = 8;
    /// Payload [`super::Holder`]: the fd was closed just now; `state` and `pipe` are what it was.
    pub const CLOSED: u32 = 9;
    /// Payload [`super::Holder`]: a target created a pipe or a pair of sockets; sent for each end that
    /// can be read.
    pub const CREATED: u32 = 10;
}

/// Starts every record.
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
    /// Who called `fork`, `vfork` or `clone`.
    pub parent: ProcessId,
    /// Who was created.
    pub child: ProcessId,
    /// The child's pid inside its innermost pid namespace.
    pub ns_pid: u32,
    /// `ROLE_*` of the child.
    pub role: u32,
    /// The child's name.
    pub comm: [u8; limits::COMM],
}

/// A process and its image: at exec, or when it was adopted.
#[repr(C)]
#[derive(FromBytes, IntoBytes, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Image {
    /// Who.
    pub process: ProcessId,
    /// Its parent at that moment.
    pub parent: ProcessId,
    /// The pid inside the innermost pid namespace.
    pub ns_pid: u32,
    /// `ROLE_*`.
    pub role: u32,
    /// Length of argv in the process; larger than the text when it was cut.
    pub argv_len: u32,
    /// Always zero.
    pub zero: u32,
    /// Its name.
    pub comm: [u8; limits::COMM],
    /// What fd 0, 1 and 2 point to.
    pub stdio: [FdState; 3],
}

/// The last thread of a process ended.
#[repr(C)]
#[derive(FromBytes, IntoBytes, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exit {
    /// Who.
    pub process: ProcessId,
    /// As `waitpid` gives it: `code << 8`, or the signal number with `0x80` for a core dump.
    pub status: u32,
    /// `ROLE_*`.
    pub role: u32,
    /// Its name.
    pub comm: [u8; limits::COMM],
    /// What fd 0, 1 and 2 point to at the end.
    pub stdio: [FdState; 3],
    /// The pipes behind fd 0, 1 and 2 at that moment.
    pub pipes: [PipeState; 3],
    /// `inode.i_size` of the regular files behind them, else 0.
    pub sizes: [u64; 3],
    /// Bytes written through fds that were not of interest.
    pub other_bytes: u64,
    /// Calls that wrote them.
    pub other_calls: u64,
}

/// An object came under watch.
#[repr(C)]
#[derive(FromBytes, IntoBytes, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default))]
pub struct Object {
    /// The object.
    pub id: ObjectId,
    /// Through whom it was seen first.
    pub process: ProcessId,
    /// Through which fd.
    pub fd: i32,
    /// `inode.i_mode`.
    pub mode: u32,
    /// `inode.i_rdev`, kernel encoding (`major << 20 | minor`).
    pub rdev: u32,
    /// `file.f_flags`.
    pub flags: u32,
    /// `inode.i_size` in bytes.
    pub size: u64,
    /// Bytes of the write through which it was seen first: they are inside already, and in the ledger
    /// as well.
    pub in_flight: u64,
    /// `super_block.s_magic` (`include/uapi/linux/magic.h`), 0 when unreadable.
    pub magic: u64,
    /// `inode.i_nlink`; 0 for a file that was deleted.
    pub nlink: u32,
    /// [`text::NONE`], [`text::COMPONENTS`] or [`text::UNIX`].
    pub text_kind: u32,
    /// The pipe, where it is one.
    pub pipe: PipeState,
    /// The terminal, where it is one.
    pub tty: TtyState,
    /// The socket, where it is one.
    pub socket: SocketState,
    /// The half that was seen before it: this one is the other end of that pty or unix socket.
    pub joined: ObjectId,
    /// How many readers away from the target its writers are ([`crate::object::watch`]).
    pub hop: u32,
    /// Always zero.
    pub zero: u32,
}

/// Meaning of the text after an [`Object`].
pub mod text {
    /// No text.
    pub const NONE: u32 = 0;
    /// Path components from the file upwards, each ended by NUL; the first byte group is the name.
    pub const COMPONENTS: u32 = 1;
    /// `sockaddr_un.sun_path` of the socket or of its peer; a leading NUL marks an abstract name.
    pub const UNIX: u32 = 2;
    /// As [`COMPONENTS`], cut at the upper end: the path does not begin at the root.
    pub const CUT_COMPONENTS: u32 = 3;
}

/// The first transfer that opened a ledger row.
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
    /// Its name.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub comm: [u8; limits::COMM],
}

/// A small fact about a process that explains a verdict.
#[repr(C)]
#[derive(FromBytes, IntoBytes, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default))]
pub struct Fact {
    /// Who.
    pub process: ProcessId,
    /// One of [`fact`].
    pub fact: u32,
    /// The fd concerned, or -1.
    pub fd: i32,
    /// Positive errno, 0 for success.
    pub errno: u32,
    /// Meaning depends on the fact.
    pub detail: u32,
    /// What the fd points to now, where the fact changed it.
    pub state: FdState,
}

/// Facts, [`Fact::fact`].
pub mod fact {
    /// `ioctl(TCGETS)`: the program asked whether the fd is a terminal; `errno` is the answer.
    pub const TTY_ASKED: u32 = 1;
    /// `connect` failed; text: the raw `sockaddr`.
    pub const CONNECT_FAILED: u32 = 2;
    /// `execve` failed; text: the path.
    pub const EXEC_FAILED: u32 = 3;
    /// `dup`, `dup2`, `dup3`, `fcntl(F_DUPFD)` or `open` put something new on fd 0, 1 or 2.
    pub const FD_REPLACED: u32 = 4;
    /// fd 0, 1 or 2 was closed.
    pub const FD_CLOSED: u32 = 5;
    /// `O_NONBLOCK` was changed on the shared file description; `detail` is 1 for set.
    pub const NONBLOCK: u32 = 6;
    /// The image has told [`crate::limits::FACTS_PER_PROCESS`] facts; its further ones are not told.
    pub const CUT: u32 = 7;
}

/// Somebody holds an object open, has created it, or has closed it.
#[repr(C)]
#[derive(FromBytes, IntoBytes, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default))]
pub struct Holder {
    /// Who.
    pub process: ProcessId,
    /// Through which fd, to what.
    pub state: FdState,
    /// The fd number.
    pub fd: i32,
    /// `ROLE_*`, or 0 for a stranger.
    pub role: u32,
    /// Its name.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub comm: [u8; limits::COMM],
    /// The pipe, where it is one.
    pub pipe: PipeState,
    /// `inode.i_size` of a file.
    pub size: u64,
    /// Inode of the connected unix socket at the other end; 0 when there is none.
    pub peer_ino: u64,
}

/// The largest text any record carries.
pub const TEXT: usize = 1024;

assert_layout!(Header, 16);
assert_layout!(Fork, 56);
assert_layout!(Image, 136);
assert_layout!(Exit, 224);
assert_layout!(Object, 192);
assert_layout!(FirstIo, 72);
assert_layout!(Fact, 56);
assert_layout!(Holder, 104);
