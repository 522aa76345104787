//! The kinds of stdout and stderr a workload can be given.

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

/// What stands behind a workload's fd 1 and fd 2 (two separate objects of the same kind).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An anonymous pipe with a reader.
    Pipe,
    /// A pipe whose reader is gone.
    ReaderlessPipe,
    /// A named pipe with a reader.
    Fifo,
    /// A unix stream socket with a reader.
    Socket,
    /// A regular file.
    File,
    /// A terminal without output processing, with a reader on its master side.
    Pty,
    /// A terminal whose master side is closed.
    HungUpPty,
    /// `/dev/null`.
    Null,
    /// `/dev/full`.
    Full,
}

impl Kind {
    /// What the tracer calls it in `kind`; `None` where the words are its own choice.
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

/// One output of a workload: the end it gets, and how the harness learns what arrived.
#[derive(Debug)]
pub struct Output {
    /// The workload's end; close it once the workload has it.
    pub end: OwnedFd,
    /// What the end refers to, as `/proc` words it.
    pub object: String,
    arrival: Arrival,
}

#[derive(Debug)]
enum Arrival {
    Reader(Reader),
    File(PathBuf),
    Nowhere,
}

/// The harness's side of an output, once the workload has its end.
#[derive(Debug)]
pub struct Sink(Arrival);

impl Output {
    /// Makes an output; files and FIFOs are made as `directory/name`.
    pub fn create(kind: Kind, pace: Pace, directory: &Path, name: &str) -> Result<Self> {
        let read_by = |far: OwnedFd| Arrival::Reader(Reader::spawn(far, pace));
        let (end, arrival) = match kind {
            Kind::Pipe => {
                let (far, end) = pipe_with(PipeFlags::CLOEXEC)?;
                (end, read_by(far))
            }
            Kind::ReaderlessPipe => (pipe_with(PipeFlags::CLOEXEC)?.1, Arrival::Nowhere),
            Kind::Socket => {
                let (far, end) = socketpair(
                    AddressFamily::UNIX,
                    SocketType::STREAM,
                    SocketFlags::CLOEXEC,
                    None,
                )?;
                (end, read_by(far))
            }
            Kind::Fifo => {
                let (far, end) = fifo(&directory.join(format!("{name}.fifo")))?;
                (end, read_by(far))
            }
            Kind::File => {
                let path = directory.join(name);
                (File::create(&path)?.into(), Arrival::File(path))
            }
            Kind::Pty => {
                let (far, end) = pty()?;
                (end, read_by(far))
            }
            Kind::HungUpPty => (pty()?.1, Arrival::Nowhere),
            Kind::Null => (device("/dev/null")?, Arrival::Nowhere),
            Kind::Full => (device("/dev/full")?, Arrival::Nowhere),
        };
        let object = object_of(end.as_raw_fd()).context("/proc does not know the new fd")?;
        Ok(Self { end, object, arrival })
    }

    /// Splits the workload's end from the harness's side.
    pub fn split(self) -> (OwnedFd, Sink) {
        (self.end, Sink(self.arrival))
    }
}

impl Sink {
    /// Lets a held reader read.
    pub fn release(&mut self) {
        if let Arrival::Reader(reader) = &mut self.0 {
            reader.release();
        }
    }

    /// Waits for the end of the stream; `None` where nothing can arrive.
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
    // An end that is open both ways lets the other two opens return at once.
    let both = OpenOptions::new().read(true).write(true).open(path)?;
    let far = File::open(path)?;
    let end = OpenOptions::new().write(true).open(path)?;
    drop(both);
    Ok((far.into(), end.into()))
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
    // No output processing: what is written is what the master reads, byte for byte.
    let mut modes = tcgetattr(&slave)?;
    modes.output_modes.remove(OutputModes::OPOST);
    modes.local_modes.remove(LocalModes::ECHO);
    tcsetattr(&slave, OptionalActions::Now, &modes)?;
    Ok((master, slave))
}
