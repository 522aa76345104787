//! An object with a writing and a reading end, and what was written to it and read from it.

use std::{
    fs::{self, File},
    net::{TcpListener, TcpStream},
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use fastrand::Rng;
use rustix::{
    net::{AddressFamily, SocketFlags, SocketType, socketpair},
    termios::{OptionalActions, tcgetattr, tcsetattr},
};
use tracer_tests::{
    procfs::object_of,
    truth::{Line, ObjectTruth},
};

use super::{
    super::answered,
    widths::{duplicate, wide},
};
use crate::{ledger::Ledger, sys};

/// What it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Pipe,
    Stream,
    Seqpacket,
    Tcp,
    Terminal,
    File,
    /// A file on an overlay, which is removed when it is closed: the next one may get its inode number.
    Overlay,
}

impl Kind {
    /// All but [`Kind::Overlay`], which some kernels lack.
    pub(super) const ANYWHERE: [Self; 6] =
        [Self::Pipe, Self::Stream, Self::Seqpacket, Self::Tcp, Self::Terminal, Self::File];

    /// How many bytes it takes in one write, and how many writes before it is read.
    const fn capacity(self) -> (usize, usize) {
        match self {
            Self::Pipe => (20_000, 3),
            Self::Stream | Self::Tcp => (10_000, 5),
            Self::Seqpacket => (3_000, 5),
            Self::Terminal => (400, 5),
            Self::File | Self::Overlay => (100_000, usize::MAX),
        }
    }
}

/// The object.
#[derive(Debug)]
pub(super) struct Channel {
    kind: Kind,
    write: OwnedFd,
    read: Option<OwnedFd>,
    counts: ObjectTruth,
    /// Sizes of the writes that were not read, so that messages are read whole.
    inside: Vec<usize>,
    /// A file to remove.
    path: Option<PathBuf>,
}

impl Channel {
    /// Opens one; a file in this directory.
    pub(super) fn open(kind: Kind, directory: &Path) -> Result<Self> {
        let path = directory.join(format!("random-{}", fastrand::u64(..)));
        let pair = |kind| socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None);
        let (write, read) = match kind {
            Kind::Pipe => {
                let (read, write) = sys::pipe()?;
                (write, Some(read))
            }
            Kind::Stream => pair(SocketType::STREAM).map(|(write, read)| (write, Some(read)))?,
            Kind::Seqpacket => {
                pair(SocketType::SEQPACKET).map(|(write, read)| (write, Some(read)))?
            }
            Kind::Tcp => tcp()?,
            Kind::Terminal => terminal()?,
            Kind::File | Kind::Overlay => (File::create_new(&path)?.into(), None),
        };
        let path = (kind == Kind::Overlay).then_some(path);
        let write = sys::move_to_high_fd(write)?;
        let read = read.map(sys::move_to_high_fd).transpose()?;
        let object = object_of(write.as_raw_fd()).context("an open fd has no name")?;
        let counts = ObjectTruth { object, ..ObjectTruth::default() };
        Ok(Self { kind, write, read, counts, inside: Vec::new(), path })
    }

    pub(super) fn kind(&self) -> Kind {
        self.kind
    }

    /// The fd that writes.
    pub(super) fn writer(&self) -> RawFd {
        self.write.as_raw_fd()
    }

    /// The fd that writes, to hand it over.
    pub(super) fn as_writer(&self) -> BorrowedFd<'_> {
        self.write.as_fd()
    }

    /// The fd that reads.
    pub(super) fn reader(&self) -> Option<RawFd> {
        self.read.as_ref().map(AsRawFd::as_raw_fd)
    }

    /// Sizes of the writes that were not read.
    pub(super) fn inside(&self) -> &[usize] {
        &self.inside
    }

    /// Whether it is on this fd.
    pub(super) fn is_on(&self, fd: RawFd) -> bool {
        object_of(fd).is_some_and(|object| object == self.counts.object)
    }

    /// Puts it on a standard fd, by one of several calls.
    pub(super) fn put_on(&self, fd: RawFd, random: &mut Rng) -> Result<()> {
        if self.is_on(fd) && random.bool() {
            return Ok(());
        }
        match random.u32(..3) {
            0 => sys::dup2(self.writer(), fd).map(drop),
            1 => {
                let [from, to] = [self.writer(), fd].map(|fd| wide(fd, random));
                // SAFETY: takes no pointer.
                sys::check("dup3", unsafe { libc::syscall(libc::SYS_dup3, from, to, 0) }).map(drop)
            }
            _ => {
                sys::close(fd)?;
                duplicate(self.writer(), fd, random)
            }
        }
    }

    /// Empties it if it has no room. Returns a size for which it has room, and which seccomp does not trap.
    pub(super) fn make_room(&mut self, random: &mut Rng) -> Result<usize> {
        let (size, writes) = self.kind.capacity();
        if self.inside.len() >= writes {
            super::reading::all(self)?;
        }
        let size = random.usize(1..size);
        Ok(if size == answered::SELECTED { size + 1 } else { size })
    }

    pub(super) fn wrote(&mut self, size: usize) {
        self.counts.written += size as u64;
        if self.read.is_some() {
            self.inside.push(size);
        }
    }

    /// Notes that bytes were read, and what is left of the writes.
    pub(super) fn took(&mut self, size: usize, left: Vec<usize>) {
        self.counts.read += size as u64;
        self.inside = left;
    }

    /// Closes it, and tells what was written and read.
    pub(super) fn publish(self, ledger: &Ledger) -> Result<()> {
        let Self { mut counts, inside, path, .. } = self;
        if let Some(path) = path {
            fs::remove_file(path)?;
        }
        counts.unread = self.read.as_ref().map(|_| inside.iter().sum::<usize>() as u64);
        ledger.append(&Line::Object(counts))
    }
}

/// Writes by `write`.
pub(super) fn write_plainly(ledger: &mut Ledger, fd: RawFd, size: usize) -> Result<()> {
    if size == 0 {
        return Ok(());
    }
    // The size that a seccomp filter may trap is avoided.
    ledger.transfer(fd, size, |done, _| sys::write(fd, &vec![b'r'; (size - done).min(999)]))
}

fn tcp() -> Result<(OwnedFd, Option<OwnedFd>)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let write = TcpStream::connect(listener.local_addr()?)?;
    let (read, _) = listener.accept()?;
    Ok((write.into(), Some(read.into())))
}

/// A terminal that passes bytes on as they are.
fn terminal() -> Result<(OwnedFd, Option<OwnedFd>)> {
    use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let master = openpt(flags)?;
    grantpt(&master)?;
    unlockpt(&master)?;
    let slave = ioctl_tiocgptpeer(&master, flags)?;
    let mut settings = tcgetattr(&slave)?;
    settings.make_raw();
    tcsetattr(&slave, OptionalActions::Now, &settings)?;
    Ok((slave, Some(master)))
}
