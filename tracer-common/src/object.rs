//! What an fd points to: the identity and the state of an object.

use zerocopy::{FromBytes, IntoBytes};

use crate::limits;

/// Identity of an open object: the same for every fd, process and `dup` that refers to it.
#[repr(C)]
#[derive(
    FromBytes, IntoBytes, Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord,
)]
pub struct ObjectId {
    /// `inode.i_ino`.
    pub ino: u64,
    /// `super_block.s_dev`, in the kernel's own encoding: `major << 20 | minor`.
    pub dev: u32,
    /// Distinguishes objects with the same inode number: index and devpts instance of a pty's master (all masters
    /// share the inode of `/dev/ptmx`), `i_generation` for regular files (inode numbers are reused). On file systems
    /// whose files have no generation of their own, tracer gives each watched file a number, and so to each open file
    /// that shares its inode (eventfd).
    pub discriminator: u32,
}

impl ObjectId {
    /// No object: the fd is not open.
    pub const NONE: Self = Self { ino: 0, dev: 0, discriminator: 0 };

    /// Whether this is [`ObjectId::NONE`].
    #[must_use]
    pub const fn is_none(&self) -> bool {
        self.ino == 0 && self.dev == 0
    }
}

/// The slot of an inode in the negative filter of watched objects.
#[must_use]
#[inline(always)]
pub const fn inode_filter_slot(ino: u64) -> u32 {
    (ino ^ ino >> 16) as u32 & (limits::INODE_FILTER_SLOTS - 1)
}

/// What an fd points to, at one point in time.
#[repr(C)]
#[derive(FromBytes, IntoBytes, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default))]
pub struct FdState {
    /// The object, or [`ObjectId::NONE`] if the fd is not open.
    pub object: ObjectId,
    /// `inode.i_mode` (file type and permissions, `S_IFMT` as in `stat(2)`); 0 when closed.
    pub mode: u32,
    /// `file.f_flags` (`O_WRONLY`, `O_NONBLOCK`, `O_APPEND` … as in `fcntl(F_GETFL)`).
    pub flags: u32,
}

/// Bytes that were written and not yet read, at one point in time: in a pipe (`struct pipe_inode_info`), in the receive
/// queue of a socket, or in the buffers of a terminal.
#[repr(C)]
#[derive(FromBytes, IntoBytes, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default))]
pub struct QueueState {
    /// Bytes written and not yet read.
    pub unread: u64,
    /// Number of slots of a pipe, of one page each; the capacity in bytes is `slots * 4096` (`F_GETPIPE_SZ`). 0 for
    /// a socket or terminal, whose capacity depends on how its bytes are stored.
    pub slots: u32,
    /// Number of open file descriptions of a pipe with read access.
    pub readers: u32,
    /// Number of open file descriptions of a pipe with write access.
    pub writers: u32,
    /// 1 if the fields above were read; 0 if the object has no queue or its queue could not be read.
    pub valid: u32,
}

/// Size of a page in bytes (`PAGE_SIZE` of x86-64 and most arm64 kernels): the capacity of one pipe slot.
const PAGE: u64 = 4096;

impl QueueState {
    /// Capacity of the pipe in bytes (`F_GETPIPE_SZ`); 0 if it is unknown.
    #[must_use]
    pub const fn capacity(&self) -> u64 {
        self.slots as u64 * PAGE
    }

    /// A socket's or terminal's queue with this number of bytes.
    #[must_use]
    #[inline(always)]
    pub const fn holding(unread: u64) -> Self {
        Self { unread, slots: 0, readers: 0, writers: 0, valid: 1 }
    }
}

/// The state of a terminal (`struct tty_struct`).
#[repr(C)]
#[derive(FromBytes, IntoBytes, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default))]
pub struct TtyState {
    /// Index: the N of `/dev/pts/N`, the same for a pty's master and slave.
    pub index: u32,
    /// `tty_driver.major`: 128 for a Unix98 pty master, 136 for its slave.
    pub major: u32,
    /// 1 if the fields above were read.
    pub valid: u32,
    /// Always zero.
    pub zero: u32,
}

/// The state of a socket (`struct sock_common`).
#[repr(C)]
#[derive(FromBytes, IntoBytes, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default))]
pub struct SocketState {
    /// Inode of the connected unix socket; 0 if there is none.
    pub peer_ino: u64,
    /// Local IPv4/IPv6 address, network order (an IPv4 address fills the first four bytes).
    pub local: [u8; 16],
    /// Remote IPv4/IPv6 address, network order.
    pub remote: [u8; 16],
    /// Address family (`AF_UNIX` 1, `AF_INET` 2, `AF_INET6` 10).
    pub family: u16,
    /// `SOCK_STREAM` 1, `SOCK_DGRAM` 2, `SOCK_SEQPACKET` 5.
    pub kind: u16,
    /// Local port, host order.
    pub local_port: u16,
    /// Remote port, host order.
    pub remote_port: u16,
}

/// Key of a read end: the process and its fd.
#[repr(C)]
#[derive(
    FromBytes, IntoBytes, Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord,
)]
pub struct EndKey {
    /// Process (tgid in the initial pid namespace).
    pub tgid: u32,
    /// The fd.
    pub fd: i32,
}

impl EndKey {
    /// Both in one integer: functions that the verifier checks on their own take integers only.
    #[must_use]
    #[inline(always)]
    pub const fn packed(self) -> u64 {
        (self.tgid as u64) << 32 | self.fd as u32 as u64
    }

    /// Reverses [`EndKey::packed`].
    #[must_use]
    #[inline(always)]
    pub const fn from_packed(packed: u64) -> Self {
        Self { tgid: (packed >> 32) as u32, fd: packed as i32 }
    }
}

/// The read end of an [`EndKey`]. It is stored because a closed fd no longer leads to the object.
#[repr(C)]
#[derive(FromBytes, IntoBytes, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadEnd {
    /// The object.
    pub object: ObjectId,
    /// Address of its `struct inode`; verified against `object` before use.
    pub inode: u64,
    /// Address of the `struct file`; verified against `inode` before use.
    pub file: u64,
    /// 1 if the fd has been closed while the file was in use: a read in another thread may still return.
    pub is_closed: u64,
    /// Start time of the process, which detects a reused pid.
    pub start_ns: u64,
}

/// Key of a known file whose inode number does not identify it (file systems without inode generations; btrfs; ptys).
#[repr(C)]
#[derive(
    FromBytes, IntoBytes, Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord,
)]
pub struct FileKey {
    /// `inode.i_ino`.
    pub ino: u64,
    /// `super_block.s_dev`.
    pub dev: u32,
    /// Always zero.
    pub zero: u32,
    /// 0: the file that had this number last. Otherwise the address of the `struct inode` of an earlier file that is
    /// still in use, or of the `struct file` of an eventfd or other file that shares its inode.
    pub inode: u64,
}

/// A known file, see [`FileKey`].
#[repr(C)]
#[derive(FromBytes, IntoBytes, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KnownFile {
    /// Address of its `struct inode` (of a pty, that of the slave); verified before use.
    pub inode: u64,
    /// Addresses of its `struct super_block`, root and private data, mixed. The next file system may get the device
    /// number of one that was unmounted, but hardly all of these addresses.
    pub file_system: u64,
    /// Address of the `struct file` whose open call created the file (of a pty, the master's); 0 if unknown, 1 if it is
    /// closed.
    pub creator: u64,
    /// [`ObjectId::discriminator`] of the file.
    pub number: u32,
    /// 1 for a pty.
    pub is_terminal: u32,
}

/// The entry of a watched object.
#[repr(C)]
#[derive(FromBytes, IntoBytes, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Watch {
    /// Flags and hop ([`watch`]).
    pub value: u32,
    /// The [slot](inode_filter_slot) of the inode through which it was seen first.
    pub filter_slot: u32,
    /// Address of its `struct inode`; verified against the object before use.
    pub inode: u64,
}

/// Flags and hop in [`Watch::value`].
pub mod watch {
    /// Transfers of all processes count; without it, only those of targets (`/dev/null`, for example, is shared
    /// by the whole machine).
    pub const ALL_PROCESSES: u32 = 1;
    /// The object passes bytes on to a reader (pipe, socket, pty master). The output of that reader is followed
    /// up to the largest hop.
    pub const PASSES_ON: u32 = 2;
    /// The target writes output to the object; set only if capture is on.
    pub const OUTPUT: u32 = 4;
    /// The clock is read at each transfer, because transfers are ordered against looks into the object: pipes, sockets
    /// and terminals.
    pub const ORDERED: u32 = 8;
    /// It was told that a process cuts the file so often that its cuts are not told one by one.
    pub const CUT_OFTEN: u32 = 16;
    /// Shift of the hop: the number of readers between the target and the writers of the object.
    pub const HOP_SHIFT: u32 = 8;

    /// The hop of a value.
    #[must_use]
    #[inline(always)]
    pub const fn hop(value: u32) -> u32 {
        value >> HOP_SHIFT
    }
}

/// `S_IFMT` and its values (`stat(2)`, `inode(7)`).
pub mod mode {
    /// Mask of the file type bits.
    pub const S_IFMT: u32 = 0o170_000;
    /// Socket.
    pub const S_IFSOCK: u32 = 0o140_000;
    /// Regular file.
    pub const S_IFREG: u32 = 0o100_000;
    /// Character device.
    pub const S_IFCHR: u32 = 0o020_000;
    /// Pipe or FIFO.
    pub const S_IFIFO: u32 = 0o010_000;
}

/// `ANON_INODE_FS_MAGIC` (`include/uapi/linux/magic.h`): eventfd, epoll, timerfd … share one inode.
pub const ANON_INODE_FS_MAGIC: u64 = 0x0904_1934;
/// `inode.i_rdev` of `/dev/null`: major 1, minor 3 (`Documentation/admin-guide/devices.txt`).
pub const NULL_RDEV: u32 = 1 << 20 | 3;
/// `tty_driver.major` of Unix98 pty slaves (`devices.txt`: 136 to 143).
pub const PTY_SLAVE_MAJOR: u32 = 136;
/// `tty_driver.major` of Unix98 pty masters (`devices.txt`: 128 to 135).
pub const PTY_MASTER_MAJOR: u32 = 128;
