//! The process that has the folder of a capture: its file system may stand still.
//!
//! tracer sends the records of the ring, and at the end the ledger's rows. The process stores them with the same threads
//! and the same queue as a [`Capture`](super::writer::Capture) has, so a disk that is slow or stands still costs captured
//! bytes and blocks only this process. Later it reads for the report what it has stored. If tracer is killed, it closes
//! what it was sent.

mod serve;
#[cfg(test)]
mod tests;
mod wire;

use std::{
    io::{self, ErrorKind, Read as _, Write as _},
    os::{fd::OwnedFd, unix::net::UnixStream},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use bytes::Bytes;
use rustix::{
    io::{Errno, read},
    pipe::{PipeFlags, pipe_with},
};
use serde::{Serialize, de::DeserializeOwned};
use tracer_common::ledger::{LedgerKey, LedgerRow};
use tracer_core::capture::summary::Summary;

use self::wire::{HEADER, Kind, Order};
use super::{
    Options,
    folder::FolderError,
    stored::{FilePart, Stored},
};
use crate::sys::{
    helper::{Helper, Kept},
    user_file::stands_still,
};

/// How long a file system may take to answer before a trace begins.
const PATIENCE: Duration = Duration::from_secs(5);
/// For how long the process may remove what a run that did not begin has left.
const TAKES_BACK: Duration = Duration::from_millis(500);
/// How long the process may take to close the accounts without what waits for the disk.
const AFTER_CUT: Duration = Duration::from_millis(900);
/// How often a wait for an answer looks whether it goes on.
const TURN: Duration = Duration::from_millis(10);
/// How many bytes of records are sent at once.
const SENT_AT_ONCE: usize = 256 << 10;

/// The process, seen from tracer.
#[derive(Debug)]
pub struct CaptureProcess {
    /// `None` if it did not answer and was given up.
    helper: Option<Helper>,
    log: Log,
    /// The folder.
    path: PathBuf,
}

/// Lines of the process's log.
#[derive(Debug)]
struct Log {
    pipe: OwnedFd,
    /// Writes them to tracer's log.
    tell: fn(Vec<u8>),
}

impl CaptureProcess {
    /// Forks it. To be called while this process has one thread. `recover` is the folder for recovered output; `tell` gets
    /// the lines of the process's log.
    ///
    /// # Errors
    /// An error if the system allows no further process.
    pub fn fork(path: &Path, recover: Option<&Path>, tell: fn(Vec<u8>)) -> io::Result<Self> {
        let (pipe, end) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        let serve = |socket| serve::serve(&socket, path, recover);
        let helper = Helper::fork_with_log(Kept::Directory, Some(end), serve)?;
        Ok(Self { helper: Some(helper), log: Log { pipe, tell }, path: path.to_owned() })
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Creates the folders.
    ///
    /// # Errors
    /// [`FolderError`].
    pub fn open(&mut self) -> Result<(), FolderError> {
        self.ask(&Order::Open, patient())
    }

    /// Creates the index. Returns what takes the records.
    ///
    /// # Errors
    /// [`FolderError`].
    pub fn store(&mut self, options: Options) -> Result<Feed, FolderError> {
        self.ask::<()>(&Order::Store(options), patient())?;
        let failed = |error: io::Error| FolderError::io("capture into", &self.path, error);
        let helper = self.helper.as_ref().ok_or_else(|| failed(stands_still()))?;
        let socket = helper.socket.try_clone().map_err(failed)?;
        // It always takes records, so there is nothing to wait for.
        socket.set_write_timeout(None).map_err(failed)?;
        let log = Log { pipe: self.log.pipe.try_clone().map_err(failed)?, tell: self.log.tell };
        Ok(Feed { socket, log, buffer: Vec::new(), is_gone: false })
    }

    /// Closes the accounts with the ledger's rows, after the [`Feed`] is closed. `waits` is asked with the time since the
    /// disk last took something. If it ends the wait, what waits for the disk becomes gaps. Returns the summary, and
    /// whether that has happened.
    ///
    /// # Errors
    /// [`FolderError`], also if the disk does not even take that.
    pub fn finish(
        &mut self,
        rows: &[(LedgerKey, LedgerRow)],
        mut waits: impl FnMut(Duration) -> bool,
    ) -> Result<(Summary, bool), FolderError> {
        let sent = self.send(Kind::Rows, &rows, &mut waits);
        let again = self.socket().and_then(UnixStream::try_clone);
        let mut cut: Option<Instant> = None;
        let mut waits = |idle| match cut {
            Some(since) => since.elapsed() < AFTER_CUT,
            None if waits(idle) => true,
            None => {
                cut = Some(Instant::now());
                again.as_ref().is_ok_and(|it| wire::send(it, Kind::Cut, &[]).is_ok())
            }
        };
        let summary = sent.and_then(|()| self.answer(&mut waits));
        self.log.relay();
        summary.map(|summary| (summary, cut.is_some()))
    }

    /// Gives it up: it does not answer.
    pub fn give_up(&mut self) {
        if let Some(helper) = self.helper.take() {
            helper.abandon();
        }
    }

    /// Removes these files, and the folders if they were created for this run. Ignores errors.
    pub fn take_back(&mut self, files: &[&str]) {
        let files = files.iter().map(|name| (*name).to_owned()).collect();
        let _ = self.ask::<()>(&Order::TakeBack(files), |idle| idle < TAKES_BACK);
    }

    /// What it has stored. `waits` is asked with the time since the process last answered.
    pub fn stored<'a>(
        &'a mut self,
        waits: &'a mut dyn FnMut(Duration) -> bool,
    ) -> impl Stored + 'a {
        Asked { process: self, waits }
    }

    fn ask<T: DeserializeOwned>(
        &mut self,
        order: &Order,
        mut waits: impl FnMut(Duration) -> bool,
    ) -> Result<T, FolderError> {
        self.send(Kind::Json, order, &mut waits)?;
        self.answer(&mut waits)
    }

    fn send(
        &mut self,
        kind: Kind,
        message: &impl Serialize,
        waits: &mut dyn FnMut(Duration) -> bool,
    ) -> Result<(), FolderError> {
        let mut frame = Vec::new();
        let sent = wire::send_json(&mut frame, kind, message);
        let sent = sent.and_then(|()| give(self.socket()?, &frame, waits));
        sent.map_err(|error| self.failed(error))
    }

    fn answer<T: DeserializeOwned>(
        &mut self,
        waits: &mut dyn FnMut(Duration) -> bool,
    ) -> Result<T, FolderError> {
        let (_, json) = self.frame(waits)?;
        self.refused(&json)
    }

    /// An answer that is no bytes.
    fn refused<T: DeserializeOwned>(&self, json: &[u8]) -> Result<T, FolderError> {
        let answer: Result<T, String> = serde_json::from_slice(json)
            .map_err(|error| FolderError::io("use", &self.path, error))?;
        answer.map_err(FolderError::Told)
    }

    /// The next frame that is no progress.
    fn frame(
        &mut self,
        waits: &mut dyn FnMut(Duration) -> bool,
    ) -> Result<(Kind, Vec<u8>), FolderError> {
        let found = self.socket().and_then(|socket| receive(socket, waits));
        found.map_err(|error| self.failed(error))
    }

    fn socket(&self) -> io::Result<&UnixStream> {
        self.helper.as_ref().map(|helper| &helper.socket).ok_or_else(stands_still)
    }

    /// It cannot be used. If it does not answer, it is given up.
    fn failed(&mut self, error: io::Error) -> FolderError {
        if error.kind() == ErrorKind::TimedOut {
            self.give_up();
        }
        FolderError::io("use", &self.path, error)
    }
}

/// Waits for an answer as long as a trace waits for a file system before it begins.
fn patient() -> impl FnMut(Duration) -> bool {
    |idle| idle < PATIENCE
}

/// Sends all these bytes. [`ErrorKind::TimedOut`] if `waits` ends the wait for the process to take them.
fn give(
    mut socket: &UnixStream,
    bytes: &[u8],
    waits: &mut dyn FnMut(Duration) -> bool,
) -> io::Result<()> {
    socket.set_write_timeout(Some(TURN))?;
    move_all(bytes.len(), waits, |done| socket.write(&bytes[done..]))
}

/// Moves this many bytes by calls that return how many they moved, and [`ErrorKind::WouldBlock`] after a [`TURN`].
fn move_all(
    length: usize,
    waits: &mut dyn FnMut(Duration) -> bool,
    mut call: impl FnMut(usize) -> io::Result<usize>,
) -> io::Result<()> {
    let (mut done, mut since) = (0, Instant::now());
    while done < length {
        match call(done) {
            Ok(0) => return Err(io::Error::other("the process that writes it has ended")),
            Ok(moved) => (done, since) = (done + moved, Instant::now()),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() != ErrorKind::WouldBlock => return Err(error),
            Err(_) if waits(since.elapsed()) => {}
            Err(_) => return Err(stands_still()),
        }
    }
    Ok(())
}

fn receive(
    socket: &UnixStream,
    waits: &mut dyn FnMut(Duration) -> bool,
) -> io::Result<(Kind, Vec<u8>)> {
    socket.set_read_timeout(Some(TURN))?;
    loop {
        let mut header = [0; HEADER];
        fill(socket, &mut header, waits)?;
        let (kind, length) = wire::parse(header)?;
        let mut bytes = vec![0; length];
        fill(socket, &mut bytes, waits)?;
        if kind != Kind::Progress {
            return Ok((kind, bytes));
        }
    }
}

/// Fills a buffer. [`ErrorKind::TimedOut`] if `waits` ends the wait.
fn fill(
    mut socket: &UnixStream,
    bytes: &mut [u8],
    waits: &mut dyn FnMut(Duration) -> bool,
) -> io::Result<()> {
    move_all(bytes.len(), waits, |done| socket.read(&mut bytes[done..]))
}

impl Log {
    /// Passes on the lines that are there.
    fn relay(&self) {
        let mut lines = [0; 4096];
        loop {
            match read(&self.pipe, &mut lines[..]) {
                Ok(length) if length > 0 => (self.tell)(lines[..length].to_vec()),
                Err(Errno::INTR) => {}
                _ => return,
            }
        }
    }
}

/// Sends records to the process, from the thread that empties the ring.
#[derive(Debug)]
pub struct Feed {
    socket: UnixStream,
    log: Log,
    buffer: Vec<u8>,
    /// It takes nothing any more. What it does not have is told by its end.
    is_gone: bool,
}

impl Feed {
    /// Sends records. The process always takes them: what its disk cannot take becomes a gap there.
    pub(super) fn push(&mut self, records: &[Bytes]) {
        for record in records {
            self.buffer.extend(wire::header(Kind::Record, record.len()));
            self.buffer.extend_from_slice(record);
            if self.buffer.len() >= SENT_AT_ONCE {
                self.flush();
            }
        }
        self.flush();
    }

    /// There was no record for a while.
    pub(super) fn offer(&self) {
        self.log.relay();
    }

    fn flush(&mut self) {
        self.is_gone = self.is_gone || self.socket.write_all(&self.buffer).is_err();
        self.buffer.clear();
    }
}

/// The process, asked for what it has stored.
struct Asked<'a> {
    process: &'a mut CaptureProcess,
    waits: &'a mut dyn FnMut(Duration) -> bool,
}

impl Asked<'_> {
    fn bytes(&mut self, order: &Order) -> Result<Vec<u8>, FolderError> {
        // Each answer may come at once: what takes long is their number.
        if self.process.helper.is_some() && !(self.waits)(Duration::ZERO) {
            let path = &self.process.path;
            return Err(FolderError::io("read all of", path, io::Error::from(ErrorKind::TimedOut)));
        }
        self.process.send(Kind::Json, order, &mut self.waits)?;
        match self.process.frame(&mut self.waits)? {
            (Kind::Bytes, bytes) => Ok(bytes),
            (_, json) => self.process.refused(&json),
        }
    }
}

impl Stored for Asked<'_> {
    fn path(&self) -> &Path {
        &self.process.path
    }

    fn read(&mut self, name: &str, offset: u64, most: u64) -> Result<Vec<u8>, FolderError> {
        self.bytes(&Order::Read { name: name.to_owned(), offset, most })
    }

    fn read_part(&mut self, part: &FilePart) -> Result<Vec<u8>, FolderError> {
        self.bytes(&Order::ReadPart(part.clone()))
    }

    fn recover(&mut self, of: &str, parts: &[FilePart]) -> Option<Result<String, FolderError>> {
        let order = Order::Recover { of: of.to_owned(), parts: parts.to_vec() };
        self.process.ask(&order, &mut self.waits).transpose()
    }
}
