//! Lines of a capture: written to the index, and added up.

use std::{collections::VecDeque, fs::File, io};

use rustix::{
    fs::{FallocateFlags, fallocate},
    io::Errno,
};
use tracer_core::capture::{
    index::{Line, Writer},
    summary::{StreamSummary, Tally},
};

/// How many bytes of disk are reserved for the index at a time.
const AHEAD: u64 = 1 << 20;
/// The part of these bytes that is reserved for the last lines of the streams.
const LAST_LINES: u64 = AHEAD / 2;

/// Writes lines, joins the parts of one write and of one gap, and adds everything up.
pub(super) struct Log {
    /// `None` if nothing is stored.
    index: Option<Writer<File>>,
    tally: Tally,
    /// The last line, while it may still grow.
    last: Option<Line>,
    /// Lines that could not be written and must be written later. They begin or end a stream; none is of a write.
    unwritten: VecDeque<Line>,
    /// The lines that were written: stream and length in bytes.
    written: Vec<(u32, u64)>,
    /// Length of all lines in bytes.
    length: u64,
    /// How many bytes were reserved on disk.
    reserved: u64,
}

impl Log {
    pub(super) fn new(index: Option<Writer<File>>, tally: Tally) -> Self {
        Self {
            index,
            tally,
            last: None,
            unwritten: VecDeque::new(),
            written: Vec::new(),
            length: 0,
            reserved: 0,
        }
    }

    /// Makes sure that the lines of one more chunk can be written.
    ///
    /// # Errors
    /// Errors of the disk. Then nothing may be written to a file, because its line would find no room.
    pub(super) fn make_room(&mut self) -> io::Result<()> {
        self.write_unwritten()?;
        self.reserve()
    }

    /// Writes the lines that could not be written before.
    fn write_unwritten(&mut self) -> io::Result<()> {
        let Some(index) = &mut self.index else { return Ok(()) };
        index.make_room()?;
        while let Some(line) = self.unwritten.front() {
            self.length += index.write(line)?;
            self.unwritten.pop_front();
        }
        index.make_room()
    }

    /// Reserves disk. Without that, the files of the streams could fill the disk, and the index could not say what is
    /// in them.
    fn reserve(&mut self) -> io::Result<()> {
        let Some(index) = &self.index else { return Ok(()) };
        if self.length.saturating_add(AHEAD) <= self.reserved {
            return Ok(());
        }
        match fallocate(index.get_ref(), FallocateFlags::KEEP_SIZE, self.reserved, AHEAD) {
            Ok(()) => self.reserved += AHEAD,
            // Such a file or file system has no reservations.
            Err(Errno::OPNOTSUPP | Errno::NODEV | Errno::SPIPE | Errno::NOSYS) => {
                self.reserved = u64::MAX;
            }
            Err(_) if self.length.saturating_add(LAST_LINES) <= self.reserved => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// Writes a line, or makes the line before it longer.
    pub(super) fn line(&mut self, line: Line) {
        if self.last.as_mut().is_some_and(|last| extend(last, &line)) {
            return;
        }
        self.end_last();
        match line {
            Line::Write(_) | Line::Gap(_) => self.last = Some(line),
            _ => self.put(line),
        }
    }

    /// Gives everything to the system.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.end_last();
        self.write_unwritten()?;
        self.index.as_mut().map_or(Ok(()), Writer::flush)
    }

    /// The lines that were written since the last call: stream and length in bytes.
    pub(super) fn written(&mut self) -> impl Iterator<Item = (u32, u64)> + '_ {
        self.written.drain(..)
    }

    /// The sums, and an error if lines are missing in the index.
    pub(super) fn finish(mut self) -> (Vec<StreamSummary>, io::Result<()>) {
        let result = self.flush().and_then(|()| self.free_reserved());
        (self.tally.finish(), result)
    }

    /// Frees the disk that is reserved behind the last line.
    fn free_reserved(&self) -> io::Result<()> {
        let Some(index) = self.index.as_ref().filter(|_| (1..u64::MAX).contains(&self.reserved))
        else {
            return Ok(());
        };
        let file = index.get_ref();
        file.set_len(file.metadata()?.len())
    }

    fn end_last(&mut self) {
        if let Some(last) = self.last.take() {
            self.put(last);
        }
    }

    fn put(&mut self, line: Line) {
        self.tally.add(&line);
        let Some(index) = &mut self.index else { return };
        // Lines keep their order, so an unwritten one comes first.
        if self.unwritten.is_empty()
            && let Ok(length) = index.write(&line)
        {
            self.length += length;
            self.written.extend(stream_of(&line).map(|stream| (stream, length)));
        } else {
            self.unwritten.push_back(line);
        }
    }
}

/// Makes a line longer by the next part of the same write or gap. `false` if the next line is no such part.
fn extend(last: &mut Line, next: &Line) -> bool {
    let (length, more) = match (last, next) {
        (Line::Write(last), Line::Write(next))
            if (last.stream, last.tid, last.time_ns) == (next.stream, next.tid, next.time_ns)
                && last.offset.checked_add(last.length) == Some(next.offset) =>
        {
            (&mut last.length, next.length)
        }
        (Line::Gap(last), Line::Gap(next))
            if (last.stream, last.reason, last.offset)
                == (next.stream, next.reason, next.offset)
                && last.source == next.source =>
        {
            (&mut last.length, next.length)
        }
        _ => return false,
    };
    *length = length.saturating_add(more);
    true
}

fn stream_of(line: &Line) -> Option<u32> {
    match line {
        Line::Capture(_) => None,
        Line::Stream(declared) => Some(declared.stream),
        Line::Write(write) => Some(write.stream),
        Line::Gap(gap) => Some(gap.stream),
        Line::End(total) => Some(total.stream),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use rustix::{
        fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create},
        pipe::{PipeFlags, fcntl_setpipe_size, pipe_with},
    };
    use tracer_common::{id::ProcessId, object::ObjectId};
    use tracer_core::capture::{
        Keep,
        index::{Declared, Head, Reader, Total},
    };

    use super::*;

    fn declared(stream: u32) -> Line {
        Line::Stream(Declared {
            stream,
            process: ProcessId::new(71, 5),
            comm: "docker".to_owned(),
            fd: 1,
            object: ObjectId { ino: 88, dev: 9, discriminator: 0 },
            file: "x".repeat(9000),
        })
    }

    #[test]
    fn a_line_that_fits_does_not_overtake_one_that_is_owed() {
        // A pipe without a reader acts as a full disk.
        let (end, index) = pipe_with(PipeFlags::NONBLOCK).unwrap();
        let index = File::from(index);
        let writer = Writer::new(index.try_clone().unwrap());
        let mut log = Log::new(Some(writer), Tally::new(None, Keep::First));
        log.line(Line::Capture(Head::new(None, Keep::First)));
        let mut lines = Vec::new();
        while log.unwritten.is_empty() {
            let line = declared(lines.len() as u32 + 1);
            log.line(line.clone());
            lines.push(line);
        }
        let total = Total { stream: 1, written: 0, kept: 0, cut: 0, missing: 0 };
        lines.push(Line::End(total));
        log.line(Line::End(total));
        assert!(log.flush().is_err());
        fcntl_setpipe_size(&index, 1 << 20).unwrap();
        let (streams, result) = log.finish();
        result.unwrap();
        assert_eq!(streams.len(), lines.len() - 1);
        drop(index);
        let found: Vec<Line> = Reader::new(io::BufReader::new(File::from(end))).unwrap().collect();
        assert!(found == lines);
    }

    fn log(file: &File) -> Log {
        let writer = Writer::new(file.try_clone().unwrap());
        Log::new(Some(writer), Tally::new(None, Keep::First))
    }

    #[test]
    fn disk_is_set_aside_ahead_of_the_lines_and_given_back() {
        let file = tempfile::tempfile().unwrap();
        let mut log = log(&file);
        let mut length = 0;
        for stream in 0..300 {
            log.make_room().unwrap();
            let found = file.metadata().unwrap();
            assert!(found.blocks() * 512 >= length + LAST_LINES, "{} {length}", found.blocks());
            log.line(declared(stream));
            length += 9000;
        }
        log.finish().1.unwrap();
        let found = file.metadata().unwrap();
        assert!(found.len() > length && found.blocks() * 512 < found.len() + LAST_LINES);
    }

    #[test]
    fn without_disk_for_the_last_lines_there_is_no_room() {
        let file = File::from(memfd_create("index", MemfdFlags::ALLOW_SEALING).unwrap());
        let mut log = log(&file);
        log.make_room().unwrap();
        assert_eq!(log.reserved, AHEAD);
        (0..50).for_each(|stream| log.line(declared(stream)));
        log.flush().unwrap();
        // The file cannot grow, like a file on a full disk. The next line fits into the buffer.
        fcntl_add_seals(&file, SealFlags::GROW).unwrap();
        let mut stream = 50;
        while log.make_room().is_ok() {
            log.line(declared(stream));
            stream += 1;
        }
        assert!(log.length > AHEAD - LAST_LINES && log.length < AHEAD - LAST_LINES + 20_000);
    }
}
