//! The far end of a workload's stdout: a thread that drains it and counts what truly arrived.

use std::{
    io::Read,
    os::fd::OwnedFd,
    sync::mpsc::{Receiver, Sender, channel},
    thread,
};

use anyhow::{Context, Result};

use crate::deadline::DEADLINE;

/// Whether a reader starts at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// Reads from the start.
    Free,
    /// Reads nothing before [`Reader::release`]: the pipe fills.
    Held,
}

/// What a reader received.
#[derive(Clone, Debug, Default)]
pub struct Received {
    /// Every byte up to the end of the stream.
    pub bytes: Vec<u8>,
}

impl Received {
    /// How many bytes arrived.
    pub fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// Whether nothing arrived.
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
    /// Starts to read `end` until its end of file.
    pub fn spawn(end: OwnedFd, pace: Pace) -> Self {
        let (release, released) = channel::<()>();
        let (report, done) = channel();
        thread::spawn(move || {
            if pace == Pace::Held {
                // A dropped sender releases as well: the thread then ends with its test.
                let _ = released.recv();
            }
            let _ = report.send(drain(end));
        });
        Self { release: Some(release), done }
    }

    /// Lets a held reader read.
    pub fn release(&mut self) {
        self.release = None;
    }

    /// Waits for the end of the stream.
    pub fn finish(mut self) -> Result<Received> {
        self.release();
        let received = self.done.recv_timeout(*DEADLINE).with_context(|| {
            format!("no end of file on the workload's output within {} s", DEADLINE.as_secs())
        })?;
        received.context("cannot read the workload's output")
    }
}

fn drain(end: OwnedFd) -> std::io::Result<Received> {
    let mut end = std::fs::File::from(end);
    let mut bytes = Vec::new();
    let mut chunk = vec![0; 65536];
    loop {
        match end.read(&mut chunk) {
            Ok(0) => return Ok(Received { bytes }),
            Ok(count) => bytes.extend_from_slice(&chunk[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            // A pty master says EIO when the last slave is closed, and a unix socket whose
            // peer ended with bytes unread says ECONNRESET: both are the end of the stream.
            Err(error)
                if matches!(error.raw_os_error(), Some(libc::EIO) | Some(libc::ECONNRESET)) =>
            {
                return Ok(Received { bytes });
            }
            Err(error) => return Err(error),
        }
    }
}
