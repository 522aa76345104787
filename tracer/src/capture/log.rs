//! The lines of a capture on their way into the index, and into its sums.

use std::{collections::VecDeque, fs::File, io};

use super::{
    index::{Line, Missing, Writer},
    summary::{StreamSummary, Tally},
};

/// Writes lines, joins gaps that follow each other, and adds everything up.
pub(super) struct Log {
    /// `None` when nothing is stored.
    index: Option<Writer<File>>,
    tally: Tally,
    /// The last line, as long as it may still grow.
    gap: Option<Missing>,
    /// Lines that the disk did not take: those that begin and end a stream, no writes.
    owed: VecDeque<Line>,
    /// The streams of the lines that were written, and how long each line is.
    written: Vec<(u32, u64)>,
}

impl Log {
    pub(super) fn new(index: Option<Writer<File>>, tally: Tally) -> Self {
        Self { index, tally, gap: None, owed: VecDeque::new(), written: Vec::new() }
    }

    /// Makes sure that the lines of one more chunk can be written.
    pub(super) fn make_room(&mut self) -> io::Result<()> {
        let Some(index) = &mut self.index else { return Ok(()) };
        index.make_room()?;
        while let Some(line) = self.owed.front() {
            index.write(line)?;
            self.owed.pop_front();
        }
        index.make_room()
    }

    /// Writes a line.
    pub(super) fn line(&mut self, line: Line) {
        self.end_gap();
        self.put(line);
    }

    /// Writes a gap, or makes the one before it longer.
    pub(super) fn gap(&mut self, gap: Missing) {
        if let Some(last) = &mut self.gap
            && (last.stream, last.reason, last.offset) == (gap.stream, gap.reason, gap.offset)
            && last.source == gap.source
        {
            last.length = last.length.saturating_add(gap.length);
            return;
        }
        self.end_gap();
        self.gap = Some(gap);
    }

    /// Hands everything to the system.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.end_gap();
        self.make_room()?;
        self.index.as_mut().map_or(Ok(()), Writer::flush)
    }

    /// The lines that were written since this was asked last: of which stream, how long.
    pub(super) fn written(&mut self) -> impl Iterator<Item = (u32, u64)> + '_ {
        self.written.drain(..)
    }

    /// The sums, and why the index lacks lines, if it does.
    pub(super) fn finish(mut self) -> (Vec<StreamSummary>, io::Result<()>) {
        let result = self.flush();
        (self.tally.finish(), result)
    }

    fn end_gap(&mut self) {
        if let Some(gap) = self.gap.take() {
            self.put(Line::Gap(gap));
        }
    }

    fn put(&mut self, line: Line) {
        self.tally.add(&line);
        let Some(index) = &mut self.index else { return };
        // A line must not overtake one that is owed.
        if self.owed.is_empty()
            && let Ok(length) = index.write(&line)
        {
            self.written.extend(stream_of(&line).map(|stream| (stream, length)));
        } else {
            self.owed.push_back(line);
        }
    }
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
