//! A thread that reads a workload's output to the end.

use std::{
    io::Read,
    os::fd::OwnedFd,
    sync::mpsc::{Receiver, Sender, channel},
    thread,
};

use anyhow::{Context, Result};

use crate::{
    deadline::{DEADLINE, OwnedChild},
    fexit::Polled,
};

/// When a reader starts to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// At once.
    Free,
    /// After [`Reader::release`]; until then the pipe fills up.
    Held,
}

/// What a reader received.
#[derive(Clone, Debug, Default)]
pub struct Received {
    /// All bytes up to the end of the stream.
    pub bytes: Vec<u8>,
}

impl Received {
    /// Number of bytes.
    pub fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

/// A reading thread.
#[derive(Debug)]
pub struct Reader {
    release: Option<Sender<()>>,
    done: Receiver<std::io::Result<Received>>,
}

impl Reader {
    /// Starts a thread that reads `end` to the end of file.
    pub fn spawn(end: OwnedFd, pace: Pace) -> Self {
        let (release, released) = channel::<()>();
        let (report, done) = channel();
        thread::spawn(move || {
            if pace == Pace::Held {
                // A dropped sender also releases the thread, so it does not outlive its test.
                let _ = released.recv();
            }
            let _ = report.send(drain(end));
        });
        Self { release: Some(release), done }
    }

    /// Starts a thread that reads the piped stdout of a child.
    pub fn of_stdout(child: &mut OwnedChild) -> Result<Self> {
        Ok(Self::spawn(child.take_stdout()?.into(), Pace::Free))
    }

    /// Starts a thread that reads the piped stderr of a child.
    pub fn of_stderr(child: &mut OwnedChild) -> Result<Self> {
        Ok(Self::spawn(child.take_stderr()?.into(), Pace::Free))
    }

    /// Starts a held reader.
    pub fn release(&mut self) {
        self.release = None;
    }

    /// Waits for the end of the stream and returns all bytes.
    pub fn finish(mut self) -> Result<Received> {
        self.release();
        let received = self.done.recv_timeout(*DEADLINE).with_context(|| {
            format!("no end of file on the workload's output within {} s", DEADLINE.as_secs())
        })?;
        received.context("cannot read the workload's output")
    }
}

fn drain(end: OwnedFd) -> std::io::Result<Received> {
    let mut end = Polled::with_fexit(std::fs::File::from(end));
    let mut bytes = Vec::new();
    let mut chunk = vec![0; 65536];
    loop {
        match end.read(&mut chunk) {
            Ok(0) => return Ok(Received { bytes }),
            Ok(count) => bytes.extend_from_slice(&chunk[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            // Two more forms of end of file: a pty master returns EIO when the last slave is
            // closed, a unix socket ECONNRESET when its peer closed with unread bytes.
            Err(error)
                if matches!(error.raw_os_error(), Some(libc::EIO) | Some(libc::ECONNRESET)) =>
            {
                return Ok(Received { bytes });
            }
            Err(error) => return Err(error),
        }
    }
}
