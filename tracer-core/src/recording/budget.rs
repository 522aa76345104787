//! How much of a recording is read: a made-up file must not take all memory, and one without end must not be
//! read for ever.

use std::fmt;

use super::parse::Line;
use crate::event::EventKind;

/// Memory of what one line puts into the session and its report, apart from its text: a process with its
/// places in all tables is the largest.
const EACH_LINE: u64 = 3 << 10;
/// The same for each byte of its text.
const EACH_BYTE: u64 = 4;
/// The same for each string in a list: an argument, a variable.
const EACH_STRING: u64 = 160;
/// Copies of a name that one line leads to.
const COPIES: u64 = 6;
/// Lines that cannot be read, after which a file is no recording any more.
const MAX_DAMAGED: u32 = 100_000;

/// Why the rest of a file was left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeftOut {
    /// What it says would take more memory than it may.
    Memory {
        /// How much it may take, in bytes.
        limit: u64,
    },
    /// A line does not end.
    EndlessLine,
    /// Too many lines cannot be read.
    Damaged,
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory { limit } => {
                let mib = limit >> 20;
                write!(f, "more of it would take more than {mib} MiB of memory")
            }
            Self::EndlessLine => f.write_str("it holds a line that does not end"),
            Self::Damaged => {
                write!(f, "{MAX_DAMAGED} lines of it cannot be read")
            }
        }
    }
}

/// What may still be read.
#[derive(Debug)]
pub(super) struct Budget {
    limit: u64,
    /// What lines take that keep something.
    used: u64,
    /// How many those are.
    lines: u64,
    /// What each of them may have a copy of in the report: the longest name, the largest environment.
    copied: u64,
    damaged: u32,
}

impl Budget {
    /// For a file that may take `limit` bytes of memory.
    pub(super) fn new(limit: u64) -> Self {
        Self { limit, used: 0, lines: 0, copied: 0, damaged: 0 }
    }

    /// Takes the room of a line of `length` bytes.
    pub(super) fn take(&mut self, line: &Line, length: usize) -> Result<(), LeftOut> {
        match line {
            // Only the first one of its row takes room, see `Budget::take_row`.
            Line::Checkpoint(_) => Ok(()),
            Line::StartedHere(_) | Line::Survey | Line::End(_) | Line::Unknown => Ok(()),
            Line::Row(_) | Line::Loss(_) => self.add(length as u64 * EACH_BYTE),
            Line::Event(event) => {
                self.copied = self.copied.max(copied(&event.kind));
                self.add(length as u64 * EACH_BYTE + strings(&event.kind) as u64 * EACH_STRING)
            }
        }
    }

    /// Takes the room of a row that is open.
    pub(super) fn take_row(&mut self) -> Result<(), LeftOut> {
        self.add(0)
    }

    fn add(&mut self, bytes: u64) -> Result<(), LeftOut> {
        self.lines += 1;
        self.used = self.used.saturating_add(EACH_LINE + bytes);
        let copies = self.lines.saturating_mul(self.copied);
        if self.used.saturating_add(copies) > self.limit {
            return Err(LeftOut::Memory { limit: self.limit });
        }
        Ok(())
    }

    /// A line could not be read.
    pub(super) fn damaged(&mut self) -> Result<(), LeftOut> {
        self.damaged += 1;
        if self.damaged < MAX_DAMAGED { Ok(()) } else { Err(LeftOut::Damaged) }
    }
}

/// Strings in the lists of an event.
fn strings(event: &EventKind) -> usize {
    match event {
        EventKind::Image(image) => image.argv.len(),
        EventKind::Environment { variables, .. } => 2 * variables.len(),
        EventKind::Claim(said) => said.command.len(),
        EventKind::Fork { .. }
        | EventKind::Exit(_)
        | EventKind::Object { .. }
        | EventKind::FirstIo { .. }
        | EventKind::Fact { .. }
        | EventKind::Holder { .. }
        | EventKind::File { .. }
        | EventKind::Log { .. }
        | EventKind::BlockedThread(_)
        | EventKind::LogRead(_) => 0,
    }
}

/// What other lines may make copies of: an object is named wherever it occurs, and a process too.
fn copied(event: &EventKind) -> u64 {
    let name = |text: &str| COPIES * text.len() as u64;
    match event {
        EventKind::Image(image) => name(&image.comm),
        EventKind::Exit(exit) => name(&exit.comm),
        EventKind::Fork { comm, .. }
        | EventKind::FirstIo { comm, .. }
        | EventKind::Holder { comm, .. } => name(comm),
        EventKind::Object { name: path, .. } => name(path),
        EventKind::Environment { variables, .. } => {
            variables.iter().map(|(name, value)| (name.len() + value.len()) as u64).sum()
        }
        EventKind::Claim(said) => name(said.container.as_deref().unwrap_or_default()),
        EventKind::Fact { .. }
        | EventKind::File { .. }
        | EventKind::Log { .. }
        | EventKind::BlockedThread(_)
        | EventKind::LogRead(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Event, Image};

    fn image(argv: usize, comm: &str) -> Line {
        let argv = vec![String::new(); argv];
        let image = Image { argv, comm: comm.to_owned(), ..Image::default() };
        Line::Event(Event { time_ns: 5, kind: EventKind::Image(image) })
    }

    /// Lines of this kind that fit into a megabyte.
    fn fitting(line: &Line) -> usize {
        let mut room = Budget::new(1 << 20);
        (0..).take_while(|_| room.take(line, 60).is_ok()).count()
    }

    #[test]
    fn lines_their_strings_and_what_is_copied_take_room() {
        let plain = fitting(&image(0, ""));
        assert!((200..400).contains(&plain), "{plain}");
        assert!(fitting(&image(100, "")) < plain / 4);
        assert!(fitting(&image(0, &"x".repeat(4000))) < plain / 4);
        let mut room = Budget::new(0);
        assert_eq!(room.take(&Line::Survey, 20), Ok(()));
        assert_eq!(room.take_row(), Err(LeftOut::Memory { limit: 0 }));
    }
}
