//! One pipe and its buffer in memory.

use std::{io, os::fd::OwnedFd};

use anyhow::{Context, Result};
use rustix::io::{ioctl_fionread, read, retry_on_intr};
use tracer_tests::goproc;

/// The manager's end of one pipe, and what it read but has not handed out.
#[derive(Debug)]
pub(crate) struct Stream {
    end: Option<OwnedFd>,
    buffer: Vec<u8>,
    books: goproc::Stream,
}

impl Stream {
    /// Around the read end of the pipe `object`.
    pub(crate) fn new(end: OwnedFd, object: String) -> Self {
        let books = goproc::Stream { object, ..goproc::Stream::default() };
        Self { end: Some(end), buffer: Vec::new(), books }
    }

    /// The read end, as long as it is open.
    pub(crate) fn end(&self) -> Option<&OwnedFd> {
        self.end.as_ref()
    }

    /// One `read` of at most `limit` bytes; false at the end of the stream, where it closes.
    pub(crate) fn read_some(&mut self, limit: usize) -> Result<bool> {
        let end = self.end.as_ref().context("the read end is closed")?;
        let mut chunk = vec![0; limit];
        let count = retry_on_intr(|| read(end, &mut chunk[..]))?;
        self.buffer.extend_from_slice(&chunk[..count]);
        self.books.read += count as u64;
        if count == 0 {
            self.close()?;
        }
        Ok(count > 0)
    }

    /// Reads to the end of the stream.
    pub(crate) fn read_to_end(&mut self) -> Result<()> {
        while self.read_some(READING)? {}
        Ok(())
    }

    /// Reads exactly `bytes`, or to the end if that comes first.
    pub(crate) fn read_exactly(&mut self, bytes: usize) -> Result<()> {
        let mut rest = bytes;
        while rest > 0 {
            let before = self.books.read;
            if !self.read_some(rest)? {
                return Ok(());
            }
            rest -= usize::try_from(self.books.read - before)?;
        }
        Ok(())
    }

    /// How many bytes wait inside.
    pub(crate) fn waiting(&self) -> Result<u64> {
        self.end.as_ref().map_or(Ok(0), |end| Ok(ioctl_fionread(end)?))
    }

    /// Closes the read end, and books what is left inside.
    pub(crate) fn close(&mut self) -> Result<()> {
        if self.end.is_some() {
            self.books.left_inside = Some(self.waiting()?);
            self.end = None;
        }
        Ok(())
    }

    /// Empties the buffer: whoever asks again gets nothing.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.buffer)
    }

    /// Books that so many bytes reached whoever asked.
    pub(crate) fn handed_out(&mut self, bytes: usize) {
        self.books.handed_out += bytes as u64;
    }

    /// What is known so far.
    pub(crate) fn books(&self) -> &goproc::Stream {
        &self.books
    }

    /// A second number for the read end, for another process.
    pub(crate) fn share(&self) -> Result<OwnedFd> {
        let end = self.end.as_ref().context("the read end is closed")?;
        end.try_clone().map_err(|error: io::Error| error.into())
    }
}

/// What one `read` asks for, as Go's copying does.
pub(crate) const READING: usize = 32 << 10;
