//! The environment of a loop: command line, gate, fds, and plain system calls.

use std::{
    env,
    fs::{File, OpenOptions},
    io::{self, Write as _},
    os::fd::{AsFd, AsRawFd, OwnedFd, RawFd},
};

use anyhow::{Context, Result, bail, ensure};
use rustix::pipe::{PipeFlags, pipe_with};
use serde::Serialize;

/// The parsed command line.
#[derive(Clone, Debug, Default)]
pub(crate) struct Request {
    /// Names of loops, with commas between them.
    pub(crate) name: String,
    pub(crate) calls: u64,
    pub(crate) sleepers: u32,
    pub(crate) objects: u64,
    pub(crate) writers: u32,
    pub(crate) command: Vec<String>,
}

impl Request {
    pub(crate) fn from_args() -> Result<Self> {
        let mut words = env::args().skip(1);
        let usage =
            "usage: load LOOP[,LOOP…] CALLS [sleepers=N] [objects=N] [writers=N] [-- COMMAND…]";
        let name = words.next().context(usage)?;
        let calls = words.next().and_then(|word| word.parse().ok()).context(usage)?;
        let mut request = Self { name, calls, ..Self::default() };
        while let Some(word) = words.next() {
            match word.split_once('=') {
                _ if word == "--" => request.command.extend(words.by_ref()),
                Some(("sleepers", number)) => request.sleepers = number.parse()?,
                Some(("objects", number)) => request.objects = number.parse()?,
                Some(("writers", number)) => request.writers = number.parse()?,
                _ => bail!("{usage}"),
            }
        }
        Ok(request)
    }
}

/// The gate and the output for the benchmark, moved away from fd 0 and fd 1, which the loops use.
pub(crate) struct Stage {
    gate: File,
    out: File,
    null: File,
}

impl Stage {
    /// Moves stdin and stdout to other fds and replaces them by `/dev/null`.
    pub(crate) fn new() -> Result<Self> {
        let gate = File::from(io::stdin().as_fd().try_clone_to_owned()?);
        let out = File::from(io::stdout().as_fd().try_clone_to_owned()?);
        let null = OpenOptions::new().read(true).write(true).open("/dev/null")?;
        let stage = Self { gate, out, null };
        stage.reset()?;
        Ok(stage)
    }

    /// Makes fd 0 and fd 1 `/dev/null` again after a loop has replaced them.
    pub(crate) fn reset(&self) -> Result<()> {
        dup_to(&self.null, 0)?;
        dup_to(&self.null, 1)
    }

    /// Prints that the loop is ready.
    pub(crate) fn say_ready(&mut self) -> Result<()> {
        self.out.write_all(b"{\"ready\":true}\n").context("cannot write to the benchmark")
    }

    /// Waits for a byte; returns false at the end of file.
    pub(crate) fn wait_at_gate(&self) -> Result<bool> {
        Ok(read(self.gate.as_raw_fd(), &mut [0])? == 1)
    }

    /// Prints one line.
    pub(crate) fn publish(&mut self, line: &impl Serialize) -> Result<()> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        self.out.write_all(&text).context("cannot write to the benchmark")
    }
}

/// Creates a pipe whose ends are closed at exec.
pub(crate) fn pipe() -> Result<(OwnedFd, OwnedFd)> {
    pipe_with(PipeFlags::CLOEXEC).context("cannot make a pipe")
}

/// Makes `number` a duplicate of a file. Loops read from fd 0 and write to fd 1.
pub(crate) fn dup_to(file: impl AsFd, number: RawFd) -> Result<()> {
    // SAFETY: takes no pointer; callers pass only 0 and 1, which no Rust value owns.
    let fd = unsafe { libc::dup2(file.as_fd().as_raw_fd(), number) };
    ensure!(fd == number, "dup2: {}", io::Error::last_os_error());
    Ok(())
}

/// Writes all bytes by one `write(2)`.
pub(crate) fn write_all(fd: RawFd, bytes: &[u8]) -> Result<()> {
    // SAFETY: the buffer is valid for its length during the call.
    let wrote = unsafe { libc::write(fd, bytes.as_ptr().cast(), bytes.len()) };
    ensure!(
        wrote == bytes.len() as isize,
        "write of {} bytes: {wrote}, {}",
        bytes.len(),
        io::Error::last_os_error()
    );
    Ok(())
}

/// Reads by one `read(2)`.
pub(crate) fn read(fd: RawFd, bytes: &mut [u8]) -> Result<usize> {
    // SAFETY: the buffer is valid for its length during the call.
    let read = unsafe { libc::read(fd, bytes.as_mut_ptr().cast(), bytes.len()) };
    usize::try_from(read).map_err(|_| io::Error::last_os_error()).context("read")
}
