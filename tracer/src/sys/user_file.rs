//! A file of the user, opened and written by a helper process: its file system may stand still.
//!
//! tracer sends bytes and keeps in memory what the helper has not taken, so it waits only when it wants to. Killed,
//! tracer leaves a helper behind that writes what it was sent.

use std::{
    fs::File,
    io::{self, BufReader, ErrorKind, Read as _, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use bytes::{Buf as _, BytesMut};
use rustix::io::ioctl_fionbio;
use serde::{Serialize, de::DeserializeOwned};

use super::{
    helper::{Helper, Kept, Refusal, encode},
    private_file,
    privileges::Rights,
};

/// How long a file system may take to answer before a trace begins.
const PATIENCE: Duration = Duration::from_secs(5);
/// How many bytes are collected before they are sent.
const SENT_AT_ONCE: usize = 64 << 10;
/// How often [`UserFile::finish`] looks.
const TURN: Duration = Duration::from_millis(1);
/// A file system that took bytes within this time does not stand still: it is slow.
const STILL: Duration = Duration::from_millis(400);

/// Asks the helper to open the file. The bytes of the file follow.
const OPEN: u8 = b'o';

/// A helper that has opened nothing yet.
#[derive(Debug)]
pub struct UserPath {
    path: PathBuf,
    helper: Helper,
}

/// A file that a helper writes.
#[derive(Debug)]
pub struct UserFile {
    helper: Option<Helper>,
    /// Bytes that the helper has not taken.
    waiting: BytesMut,
    /// How many bytes may wait.
    most_waiting: usize,
    /// Size of the file when it was opened, in bytes; 0 for a pipe or device.
    size: u64,
}

impl UserPath {
    /// Forks the helper. To be called while this process has one thread.
    ///
    /// # Errors
    /// An error if the system allows no further process.
    pub fn fork(path: PathBuf) -> io::Result<Self> {
        let served = path.clone();
        let helper = Helper::fork(Kept::Directory, |socket| serve(socket, &served))?;
        Ok(Self { path, helper })
    }

    /// The path, as the user gave it.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens the file as [`private_file::open`] does. Its content stays until the first byte is written. If more than
    /// `most_waiting` bytes find the file system too slow, a write fails.
    ///
    /// # Errors
    /// Errors of the file; [`ErrorKind::TimedOut`] if its file system does not answer.
    pub fn open(mut self, most_waiting: usize) -> io::Result<UserFile> {
        let socket = &mut self.helper.socket;
        socket.write_all(&[OPEN])?;
        let size: Result<u64, Refusal> = answer(socket, Instant::now() + PATIENCE)?;
        let size = size?;
        socket.set_nonblocking(true)?;
        Ok(UserFile { helper: Some(self.helper), waiting: BytesMut::new(), most_waiting, size })
    }
}

impl UserFile {
    /// Size of the file when it was opened, in bytes; 0 for a pipe or device.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// How many bytes its file system has not taken.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Waits until everything is written. `waits` is asked with the time since the file system last took bytes.
    ///
    /// # Errors
    /// Errors of the file; [`ErrorKind::TimedOut`] if `waits` ends the wait. What the helper has by then is still written
    /// if the file system does not stand still.
    pub fn finish(&mut self, mut waits: impl FnMut(Duration) -> bool) -> io::Result<()> {
        let mut since = Instant::now();
        while !self.waiting.is_empty() {
            let before = self.waiting.len();
            self.send()?;
            if self.waiting.len() < before {
                since = Instant::now();
            }
            // Also a file system that takes something each time can be too slow.
            if !waits(since.elapsed()) {
                return self.leave(since.elapsed());
            }
            if self.waiting.len() == before {
                thread::sleep(TURN);
            }
        }
        let Some(helper) = &self.helper else { return Ok(()) };
        helper.socket.shutdown(std::net::Shutdown::Write)?;
        helper.socket.set_nonblocking(false)?;
        loop {
            match answer(&helper.socket, Instant::now() + TURN) {
                Err(error) if error.kind() == ErrorKind::TimedOut => {}
                answer => {
                    let answer: Result<(), Refusal> = answer?;
                    return Ok(answer?);
                }
            }
            if !waits(since.elapsed()) {
                return self.leave(since.elapsed());
            }
        }
    }

    /// Waits no longer. The helper of a slow file system writes what it has.
    fn leave(&mut self, idle: Duration) -> io::Result<()> {
        if idle > STILL {
            return self.give_up();
        }
        self.helper = None;
        let why = match std::mem::take(&mut self.waiting).len() {
            0 => "its file system is too slow: its last bytes may be missing".to_owned(),
            bytes => {
                let bytes = tracer_core::text::units::bytes(bytes as u64);
                format!("its file system is too slow: it did not take {bytes} in time")
            }
        };
        Err(io::Error::new(ErrorKind::TimedOut, why))
    }

    fn give_up(&mut self) -> io::Result<()> {
        if let Some(helper) = self.helper.take() {
            helper.abandon();
        }
        Err(stands_still())
    }

    /// Sends what the helper takes without a wait.
    fn send(&mut self) -> io::Result<()> {
        let Some(helper) = &mut self.helper else { return Err(stands_still()) };
        while !self.waiting.is_empty() {
            match helper.socket.write(&self.waiting) {
                Ok(taken) => self.waiting.advance(taken),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                // The helper says why before it ends.
                Err(error) => return Err(self.reason().unwrap_or(error)),
            }
        }
        Ok(())
    }

    fn reason(&mut self) -> Option<io::Error> {
        let helper = self.helper.take()?;
        helper.socket.set_nonblocking(false).ok()?;
        let answer: Result<(), Refusal> = answer(&helper.socket, Instant::now() + TURN).ok()?;
        answer.err().map(Into::into)
    }
}

impl Write for UserFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.waiting.len() >= SENT_AT_ONCE {
            self.send()?;
        }
        if self.waiting.len().saturating_add(bytes.len()) > self.most_waiting {
            return self.give_up().map(|()| 0);
        }
        self.waiting.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    /// Sends what the helper takes without a wait.
    fn flush(&mut self) -> io::Result<()> {
        self.send()
    }
}

/// The error about a file system that does not answer.
pub(crate) fn stands_still() -> io::Error {
    io::Error::new(ErrorKind::TimedOut, "its file system does not answer")
}

/// A helper's answer: a line. [`ErrorKind::TimedOut`] if it does not come before the deadline.
pub(crate) fn answer<T: DeserializeOwned>(
    mut socket: &UnixStream,
    deadline: Instant,
) -> io::Result<T> {
    let mut line = Vec::new();
    let mut byte = [0];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        socket.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
        match socket.read(&mut byte) {
            Ok(0) => return Err(io::Error::other("the process that writes it has ended")),
            Ok(_) if byte == *b"\n" => return Ok(serde_json::from_slice(&line)?),
            Ok(_) => line.extend(byte),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock && line.is_empty() => {
                return Err(stands_still());
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

/// What the helper does.
fn serve(mut socket: UnixStream, path: &Path) -> io::Result<()> {
    socket.read_exact(&mut [0])?;
    let opened = private_file::open(path).map_err(io::Error::from).and_then(|file| {
        let found = file.metadata()?;
        // It was opened without a wait. From here on a slow reader is waited for.
        ioctl_fionbio(&file, false)?;
        Ok((file, if found.is_file() { found.len() } else { 0 }))
    });
    let mut file = match opened {
        Ok((file, size)) => {
            Rights::None.take()?;
            reply(&mut socket, Ok(size))?;
            file
        }
        Err(error) => return reply::<()>(&mut socket, Err(error)),
    };
    let written = copy(&socket, &mut file);
    reply(&mut socket, written)
}

/// Writes everything that comes, over the file's old content.
fn copy(socket: &UnixStream, file: &mut File) -> io::Result<()> {
    let mut reader = BufReader::with_capacity(1 << 16, socket);
    if !io::BufRead::fill_buf(&mut reader)?.is_empty() {
        // A device or pipe has no length to set.
        let _ = file.set_len(0);
    }
    io::copy(&mut reader, file).map(drop)
}

fn reply<T: Serialize>(socket: &mut UnixStream, answer: io::Result<T>) -> io::Result<()> {
    socket.write_all(&encode(&answer.map_err(|error| Refusal::from(&error)))?)
}
