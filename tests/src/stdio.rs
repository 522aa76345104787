//! The kinds of stdout and stderr that a workload can have.

use std::{
    fs::{File, OpenOptions},
    os::fd::{AsRawFd, OwnedFd},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use rustix::{
    fs::{CWD, Mode, mkfifoat},
    net::{AddressFamily, SocketFlags, SocketType, socketpair},
    pipe::{PipeFlags, pipe_with},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{LocalModes, OptionalActions, OutputModes, tcgetattr, tcsetattr},
};

use crate::{
    procfs::object_of,
    reader::{Pace, Reader, Received},
};

/// The kind of object behind fd 1 and fd 2 (two separate objects of the same kind).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An anonymous pipe with a reader.
    Pipe,
    /// A pipe without a reader.
    ReaderlessPipe,
    /// A named pipe with a reader.
    Fifo,
    /// A unix stream socket with a reader.
    Socket,
    /// A regular file.
    File,
    /// A terminal without output processing, with a reader at its master.
    Pty,
    /// A terminal whose master is closed.
    HungUpPty,
    /// `/dev/null`.
    Null,
    /// `/dev/full`.
    Full,
}

impl Kind {
    /// Its name in the report's `kind`; `None` where the tests do not prescribe one.
    pub fn reported_as(self) -> Option<&'static str> {
        match self {
            Self::Pipe | Self::ReaderlessPipe => Some("pipe"),
            Self::Fifo => Some("fifo"),
            Self::Socket => Some("socket"),
            Self::File => Some("file"),
            Self::Pty => Some("pty"),
            Self::Null => Some("null"),
            Self::HungUpPty | Self::Full => None,
        }
    }
}

/// An output of a workload: the fd for the workload and the harness's side.
#[derive(Debug)]
pub struct Output {
    /// The workload's fd; close it once the workload has it.
    pub end: OwnedFd,
    /// Name of the object in `/proc`.
    pub object: String,
    arrival: Arrival,
}

#[derive(Debug)]
enum Arrival {
    Reader(Reader),
    File(PathBuf),
    Nowhere,
}

/// The harness's side of an output.
#[derive(Debug)]
pub struct Sink(Arrival);

impl Output {
    /// Creates an output. A file or FIFO is created in `directory` under `name`.
    pub fn create(kind: Kind, pace: Pace, directory: &Path, name: &str) -> Result<Self> {
        let read_by = |peer: OwnedFd| Arrival::Reader(Reader::spawn(peer, pace));
        let (end, arrival) = match kind {
            Kind::Pipe => {
                let (peer, end) = pipe_with(PipeFlags::CLOEXEC)?;
                (end, read_by(peer))
            }
            Kind::ReaderlessPipe => (pipe_with(PipeFlags::CLOEXEC)?.1, Arrival::Nowhere),
            Kind::Socket => {
                let (peer, end) = socketpair(
                    AddressFamily::UNIX,
                    SocketType::STREAM,
                    SocketFlags::CLOEXEC,
                    None,
                )?;
                (end, read_by(peer))
            }
            Kind::Fifo => {
                let (peer, end) = fifo(&directory.join(format!("{name}.fifo")))?;
                (end, read_by(peer))
            }
            Kind::File => {
                let path = directory.join(name);
                (File::create(&path)?.into(), Arrival::File(path))
            }
            Kind::Pty => {
                let (peer, end) = pty()?;
                (end, read_by(peer))
            }
            Kind::HungUpPty => (pty()?.1, Arrival::Nowhere),
            Kind::Null => (device("/dev/null")?, Arrival::Nowhere),
            Kind::Full => (device("/dev/full")?, Arrival::Nowhere),
        };
        let object = object_of(end.as_raw_fd()).context("the new fd is not in /proc")?;
        Ok(Self { end, object, arrival })
    }

    /// Splits it into the workload's fd and the harness's side.
    pub fn split(self) -> (OwnedFd, Sink) {
        (self.end, Sink(self.arrival))
    }
}

impl Sink {
    /// Starts a held reader.
    pub fn release(&mut self) {
        if let Arrival::Reader(reader) = &mut self.0 {
            reader.release();
        }
    }

    /// Waits for the end of the stream; `None` where nothing can be read.
    pub fn finish(self) -> Result<Option<Received>> {
        match self.0 {
            Arrival::Reader(reader) => reader.finish().map(Some),
            Arrival::File(path) => Ok(Some(Received { bytes: std::fs::read(path)? })),
            Arrival::Nowhere => Ok(None),
        }
    }
}

fn device(path: &str) -> Result<OwnedFd> {
    let device = OpenOptions::new().write(true).open(path);
    Ok(device.with_context(|| format!("cannot open {path}"))?.into())
}

fn fifo(path: &Path) -> Result<(OwnedFd, OwnedFd)> {
    mkfifoat(CWD, path, Mode::RUSR | Mode::WUSR)?;
    // Opened for both directions first, so that the other two opens do not block.
    let both = OpenOptions::new().read(true).write(true).open(path)?;
    let peer = File::open(path)?;
    let end = OpenOptions::new().write(true).open(path)?;
    drop(both);
    Ok((peer.into(), end.into()))
}

fn pty() -> Result<(OwnedFd, OwnedFd)> {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    grantpt(&master)?;
    unlockpt(&master)?;
    let slave_path = ptsname(&master, Vec::new())?;
    let slave = rustix::fs::open(
        slave_path.as_c_str(),
        rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY | rustix::fs::OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    // Without output processing the master reads exactly the written bytes.
    let mut modes = tcgetattr(&slave)?;
    modes.output_modes.remove(OutputModes::OPOST);
    modes.local_modes.remove(LocalModes::ECHO);
    tcsetattr(&slave, OptionalActions::Now, &modes)?;
    Ok((master, slave))
}
