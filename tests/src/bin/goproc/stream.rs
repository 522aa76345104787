//! A pipe and its buffer in memory.

use std::{io, os::fd::OwnedFd};

use anyhow::{Context, Result};
use rustix::io::{ioctl_fionread, read, retry_on_intr};
use tracer_tests::goproc;

/// The manager's end of a pipe, and the bytes that it has read but not delivered.
#[derive(Debug)]
pub(crate) struct Stream {
    end: Option<OwnedFd>,
    buffer: Vec<u8>,
    counts: goproc::Stream,
}

impl Stream {
    /// Owns the read end of the pipe `object`.
    pub(crate) fn new(end: OwnedFd, object: String) -> Self {
        let counts = goproc::Stream { object, ..goproc::Stream::default() };
        Self { end: Some(end), buffer: Vec::new(), counts }
    }

    /// The read end; `None` once it is closed.
    pub(crate) fn end(&self) -> Option<&OwnedFd> {
        self.end.as_ref()
    }

    /// Reads at most `limit` bytes by one call. Closes the pipe at the end of file and returns false.
    pub(crate) fn read_some(&mut self, limit: usize) -> Result<bool> {
        let end = self.end.as_ref().context("the read end is closed")?;
        let mut chunk = vec![0; limit];
        let count = retry_on_intr(|| read(end, &mut chunk[..]))?;
        self.buffer.extend_from_slice(&chunk[..count]);
        self.counts.read += count as u64;
        if count == 0 {
            self.close()?;
        }
        Ok(count > 0)
    }

    /// Reads to the end of file.
    pub(crate) fn read_to_end(&mut self) -> Result<()> {
        while self.read_some(READ_SIZE)? {}
        Ok(())
    }

    /// Reads exactly `bytes`, or fewer if the stream ends.
    pub(crate) fn read_exactly(&mut self, bytes: usize) -> Result<()> {
        let mut rest = bytes;
        while rest > 0 {
            let before = self.counts.read;
            if !self.read_some(rest)? {
                return Ok(());
            }
            rest -= usize::try_from(self.counts.read - before)?;
        }
        Ok(())
    }

    /// Number of unread bytes in the pipe.
    pub(crate) fn unread(&self) -> Result<u64> {
        self.end.as_ref().map_or(Ok(0), |end| Ok(ioctl_fionread(end)?))
    }

    /// Closes the read end and records the number of unread bytes.
    pub(crate) fn close(&mut self) -> Result<()> {
        if self.end.is_some() {
            self.counts.unread = Some(self.unread()?);
            self.end = None;
        }
        Ok(())
    }

    /// Takes all bytes out of the buffer, so that the next request gets none.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.buffer)
    }

    /// Adds bytes that reached a client.
    pub(crate) fn add_delivered(&mut self, bytes: usize) {
        self.counts.delivered += bytes as u64;
    }

    /// The counts so far.
    pub(crate) fn counts(&self) -> &goproc::Stream {
        &self.counts
    }

    /// A duplicate of the read end, for another process.
    pub(crate) fn share(&self) -> Result<OwnedFd> {
        let end = self.end.as_ref().context("the read end is closed")?;
        end.try_clone().map_err(|error: io::Error| error.into())
    }
}

/// Size of one `read` in bytes, as in Go's `io.Copy`.
pub(crate) const READ_SIZE: usize = 32 << 10;
