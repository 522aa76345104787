//! Writes an index, line by line, while the trace runs.

use std::io::{self, BufWriter, Write};

use super::Line;
use crate::text::json;

/// Size of the buffer, in bytes.
const BUFFER: usize = 256 << 10;
/// An upper bound for all lines of one chunk. Most of it is the path of a copy's source: at most 4096 bytes, which
/// become up to six times as long when every character is escaped.
const ROOM: usize = 96 << 10;

/// Writes an index. A line is written whole or not at all, even if the disk is full for a while.
pub struct Writer<W: Write> {
    out: BufWriter<W>,
}

impl<W: Write> Writer<W> {
    /// An empty index, written to `out`.
    pub fn new(out: W) -> Self {
        Self { out: BufWriter::with_capacity(BUFFER, out) }
    }

    /// The underlying writer.
    pub fn get_ref(&self) -> &W {
        self.out.get_ref()
    }

    /// Makes sure that the buffer has room for the lines of one more chunk.
    ///
    /// # Errors
    /// Errors of the writer, if the buffer is full and cannot be written; its content stays in the buffer.
    pub fn make_room(&mut self) -> io::Result<()> {
        if self.has_room() {
            return Ok(());
        }
        let result = self.flush();
        // A nearly full disk may have taken a part.
        if self.has_room() { Ok(()) } else { result }
    }

    fn has_room(&self) -> bool {
        self.out.capacity() - self.out.buffer().len() >= ROOM
    }

    /// Writes a line; returns its length in bytes.
    ///
    /// # Errors
    /// Errors of the writer; then the line is not written.
    pub fn write(&mut self, line: &Line) -> io::Result<u64> {
        // The traced program chose names and paths, so they are escaped.
        let mut text = Vec::new();
        json::harmless_line(line, &mut text)?;
        self.out.write_all(&text)?;
        Ok(text.len() as u64)
    }

    /// Flushes the lines so far to the operating system, so that they survive if tracer is killed.
    ///
    /// # Errors
    /// Errors of the writer; unwritten bytes stay in the buffer.
    pub fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
