//! Writes an index, line by line, while the trace runs.

use std::io::{self, BufWriter, Write};

use super::Line;
use crate::text::json;

/// Bytes that wait for the disk.
const BUFFER: usize = 256 << 10;
/// More than all lines of one chunk take together: most of it is the path of a copy's source, which
/// has 4096 bytes at most and grows sixfold when every character must be made harmless.
const ROOM: usize = 96 << 10;

/// An index that is being written. A line is written whole or not at all, also when the disk is full
/// for a while.
pub struct Writer<W: Write> {
    out: BufWriter<W>,
}

impl<W: Write> Writer<W> {
    /// An empty index into `out`.
    pub fn new(out: W) -> Self {
        Self { out: BufWriter::with_capacity(BUFFER, out) }
    }

    /// Where the lines go.
    pub fn get_ref(&self) -> &W {
        self.out.get_ref()
    }

    /// Makes sure that the lines of one more chunk can be written without an error.
    ///
    /// # Errors
    /// Of the writer, when its buffer is full and cannot be written; what is in the buffer stays there.
    pub fn make_room(&mut self) -> io::Result<()> {
        if self.has_room() {
            return Ok(());
        }
        let result = self.flush();
        // A disk that is nearly full takes some of it.
        if self.has_room() { Ok(()) } else { result }
    }

    fn has_room(&self) -> bool {
        self.out.capacity() - self.out.buffer().len() >= ROOM
    }

    /// Writes a line and says how long it is.
    ///
    /// # Errors
    /// Of the writer; the line is not written then.
    pub fn write(&mut self, line: &Line) -> io::Result<u64> {
        // Names and paths were chosen by the traced program.
        let mut text = Vec::new();
        json::harmless_line(line, &mut text)?;
        self.out.write_all(&text)?;
        Ok(text.len() as u64)
    }

    /// Hands the lines so far to the system, so that they survive the end of tracer.
    ///
    /// # Errors
    /// Of the writer; what could not be written stays in the buffer.
    pub fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
