//! One watched object.

use tracer_common::{
    event as layout,
    object::{
        NULL_RDEV, ObjectId, PTY_MASTER_MAJOR, PTY_SLAVE_MAJOR, QueueState, SocketState, TtyState,
        mode,
    },
};

use super::{Holders, sandboxes::is_handed_in};
use crate::event::{FileNow, LogTally};

/// What an object is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// Anonymous pipe.
    Pipe,
    /// Named pipe.
    Fifo,
    /// Either half of a pseudo-terminal.
    Pty,
    /// Socket of any family.
    Socket,
    /// Regular file, directory or memory file.
    File,
    /// `/dev/null`.
    Null,
    /// Any other device, real terminals included.
    Device,
    /// A file of the machine outside that a gVisor sandbox was given; which one it is, is not known.
    HandedIn,
    /// The fd was not open.
    Closed,
    /// The event that describes it was lost.
    #[default]
    Unknown,
}

impl Kind {
    /// Its name in the report.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pipe => "pipe",
            Self::Fifo => "fifo",
            Self::Pty => "pty",
            Self::Socket => "socket",
            Self::File => "file",
            Self::Null => "null",
            Self::Device => "device",
            Self::HandedIn => "handed_in",
            Self::Closed => "closed",
            Self::Unknown => "unknown",
        }
    }

    /// Whether a reader gets what is written: pipes, sockets and terminals.
    #[must_use]
    pub const fn passes_on(self) -> bool {
        matches!(self, Self::Pipe | Self::Fifo | Self::Socket | Self::Pty)
    }

    /// Whether it is a first-in-first-out buffer for a reader.
    #[must_use]
    pub const fn is_pipe(self) -> bool {
        matches!(self, Self::Pipe | Self::Fifo)
    }
}

/// A watched object.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Object {
    /// Its identity.
    pub id: ObjectId,
    /// What it is.
    pub kind: Kind,
    /// Path or socket address; empty for a pipe.
    pub path: String,
    /// When it came under watch, nanoseconds since boot.
    pub seen_ns: u64,
    /// Bytes that had been written to it and not read when it came under watch.
    pub queue: QueueState,
    /// The terminal.
    pub tty: TtyState,
    /// The socket.
    pub socket: SocketState,
    /// Size of the file when it came under watch.
    pub size: u64,
    /// Bytes that were read, uncounted, before the write returned through which the pipe came under watch.
    pub taken_unseen: u64,
    /// Whether a pipe keeps the bytes of each write apart (`O_DIRECT`, `pipe(2)`).
    pub is_packet_pipe: bool,
    /// Whether the file was already deleted when it came under watch.
    pub deleted: bool,
    /// Its holders according to the latest survey.
    pub holders: Holders,
    /// Number of relays between the target and its writers.
    pub hop: u32,
    /// What its path leads to at the end of the trace.
    pub now: Option<FileNow>,
    /// The path that the file has at the end of the trace, if it was renamed in its directory; else empty.
    pub renamed: String,
    /// When the file was first seen without a name: it had been removed by then. It may have been removed unseen.
    pub removed_ns: Option<u64>,
    /// Latest known size of the file.
    pub size_after: Option<u64>,
    /// Bytes that had been written to it when a recorder asked for its size; `None` if nothing was written since.
    pub written_when_asked: Option<u64>,
    /// Whether a later file has got its inode number, which is all that `stat(2)` shows: it was removed before.
    pub is_number_reused: bool,
    /// Sums of a container engine's log file.
    pub log: Option<LogTally>,
}

/// `SOCK_STREAM` (`include/linux/net.h`).
const SOCK_STREAM: u16 = 1;

impl Object {
    /// Whether the file was found at the end of the trace, at its path or with another name.
    #[must_use]
    pub fn is_found(&self) -> bool {
        self.now == Some(FileNow::Same) || !self.renamed.is_empty()
    }

    /// What the inode number shows is another file.
    pub(super) fn number_is_reused(&mut self) {
        self.is_number_reused = true;
        if self.is_found() {
            self.size_after = None;
        }
        self.renamed.clear();
        self.now = self.now.map(|now| if now == FileNow::Same { FileNow::Replaced } else { now });
    }

    /// Whether it has no name, or none any more: all of them were removed.
    #[must_use]
    pub fn is_removed(&self) -> bool {
        let has_got_one = self.can_get_name() && !self.renamed.is_empty();
        (self.removed_ns.is_some() || self.deleted) && !has_got_one
    }

    /// Whether it was made without a name: `memfd_create(2)`, or `O_TMPFILE`.
    #[must_use]
    pub fn is_unnamed(&self) -> bool {
        self.can_get_name() || self.deleted && self.path.starts_with("/memfd:")
    }

    /// Whether it was made without a name, and can get one (`linkat(2)`): `O_TMPFILE` (`d_tmpfile` in `fs/dcache.c`).
    #[must_use]
    pub fn can_get_name(&self) -> bool {
        let name = self.path.rsplit('/').next().and_then(|name| name.strip_prefix('#'));
        self.deleted && name.is_some_and(|name| name.parse() == Ok(self.id.ino))
    }

    /// Whether nothing is at its path at the end, and it is not known to have another name.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        self.now == Some(FileNow::Gone) && self.renamed.is_empty()
    }

    /// Whether a process that writes a pid into it moves that process into a cgroup (cgroups(7)).
    #[must_use]
    pub fn lists_cgroup_members(&self) -> bool {
        let name =
            self.path.strip_prefix("/sys/fs/cgroup/").and_then(|path| path.rsplit('/').next());
        let is_listed = matches!(name, Some("cgroup.procs" | "cgroup.threads" | "tasks"));
        // The files of cgroup file systems have no size.
        is_listed && self.size_after.unwrap_or(self.size) == 0
    }

    /// Whether it is a byte stream: bytes keep their order, and a short read drops none (unlike a datagram socket or a
    /// packet pipe).
    #[must_use]
    pub fn is_byte_stream(&self) -> bool {
        !self.is_packet_pipe && (self.kind != Kind::Socket || self.socket.kind == SOCK_STREAM)
    }

    /// An object as the kernel side described it when it came under watch.
    #[must_use]
    pub fn first_seen(seen: &layout::Object, name: String, time_ns: u64) -> Self {
        let kind = kind_of(seen, &name);
        let path = match kind {
            Kind::Pty if seen.tty.valid == 1 => format!("/dev/pts/{}", seen.tty.index),
            Kind::Socket if name.is_empty() => inet_pair(&seen.socket),
            _ => name,
        };
        Self {
            id: seen.id,
            kind,
            path,
            seen_ns: time_ns,
            queue: queue_before(seen, kind),
            tty: seen.tty,
            socket: seen.socket,
            size: size_before(seen),
            taken_unseen: if kind != Kind::Pty && seen.queue.valid == 1 {
                seen.in_flight.saturating_sub(seen.queue.unread)
            } else {
                0
            },
            is_packet_pipe: kind.is_pipe() && seen.flags & O_DIRECT != 0,
            deleted: seen.nlink == 0 && kind == Kind::File,
            holders: Holders::default(),
            hop: seen.hop,
            now: None,
            renamed: String::new(),
            removed_ns: None,
            size_after: None,
            written_when_asked: None,
            is_number_reused: false,
            log: None,
        }
    }

    /// Its name in reports, as `ls -l /proc/PID/fd` shows it.
    #[must_use]
    pub fn name(&self) -> String {
        match self.kind {
            Kind::Pipe => format!("pipe:[{}]", self.id.ino),
            Kind::Socket => format!("socket:[{}]", self.id.ino),
            Kind::Null => "/dev/null".into(),
            Kind::Pty if self.tty.major == PTY_MASTER_MAJOR => format!("{} (master)", self.path),
            Kind::File if self.deleted => format!("{} (deleted)", self.path),
            Kind::Closed => "closed".into(),
            _ if self.path.is_empty() => unknown_name(&self.id),
            _ => self.path.clone(),
        }
    }
}

/// Bytes that had been written to an object and not read before the call through which it came under watch.
fn queue_before(seen: &layout::Object, kind: Kind) -> QueueState {
    // A terminal may change the number of bytes of a write.
    if kind == Kind::Pty && seen.in_flight > 0 {
        return QueueState::default();
    }
    // Bytes read from one half of a pair were written to the other half, which has no fd in its description.
    let taken = if kind.is_pipe() || seen.fd == -1 { seen.taken } else { 0 };
    let unread = seen.queue.unread.saturating_add(taken).saturating_sub(seen.in_flight);
    QueueState { unread, ..seen.queue }
}

/// `O_DIRECT` (`include/uapi/asm-generic/fcntl.h`) and its value on arm64, which elsewhere is `O_DIRECTORY` and never set
/// on a pipe.
const O_DIRECT: u32 = 0o40_000 | 0o200_000;

/// `O_APPEND` (`include/uapi/asm-generic/fcntl.h`).
pub(crate) const O_APPEND: u32 = 0o2000;

/// Size of a file before the write through which it came under watch.
fn size_before(seen: &layout::Object) -> u64 {
    let grew = seen.flags & O_APPEND != 0 || seen.size == seen.in_flight;
    if grew { seen.size.saturating_sub(seen.in_flight) } else { seen.size }
}

fn kind_of(seen: &layout::Object, name: &str) -> Kind {
    match seen.mode & mode::S_IFMT {
        _ if is_handed_in(&seen.id) => Kind::HandedIn,
        mode::S_IFIFO if name.is_empty() => Kind::Pipe,
        mode::S_IFIFO => Kind::Fifo,
        mode::S_IFSOCK => Kind::Socket,
        mode::S_IFCHR if seen.rdev == NULL_RDEV => Kind::Null,
        mode::S_IFCHR if is_pty(&seen.tty) => Kind::Pty,
        mode::S_IFCHR => Kind::Device,
        _ => Kind::File,
    }
}

fn is_pty(tty: &TtyState) -> bool {
    tty.valid == 1
        && ((PTY_SLAVE_MAJOR..PTY_SLAVE_MAJOR + 8).contains(&tty.major)
            || (PTY_MASTER_MAJOR..PTY_MASTER_MAJOR + 8).contains(&tty.major))
}

/// `local -> remote` of an internet socket; empty for other families.
fn inet_pair(socket: &SocketState) -> String {
    use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
    let pair = |raw: [u8; 16], port: u16| match socket.family {
        2 => Some(SocketAddr::from((Ipv4Addr::new(raw[0], raw[1], raw[2], raw[3]), port))),
        10 => Some(SocketAddr::from((Ipv6Addr::from(raw), port))),
        _ => None,
    };
    match (pair(socket.local, socket.local_port), pair(socket.remote, socket.remote_port)) {
        (Some(local), Some(remote)) => format!("{local} -> {remote}"),
        _ => String::new(),
    }
}

/// Name of an object of which only the identity is known.
#[must_use]
pub(super) fn unknown_name(id: &ObjectId) -> String {
    if id.is_none() {
        return "closed".into();
    }
    format!("object:[{}:{}:{}]", id.dev >> 20, id.dev & 0xf_ffff, id.ino)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_bytes_of_the_first_seen_write_were_read_uncounted() {
        let queue = QueueState { unread: 30, valid: 1, ..QueueState::default() };
        let seen =
            layout::Object { mode: mode::S_IFIFO, in_flight: 100, queue, ..Default::default() };
        let object = Object::first_seen(&seen, String::new(), 0);
        assert_eq!((object.queue.unread, object.taken_unseen), (0, 70));
    }
}
