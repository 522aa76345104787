//! The memory budget for an untrusted recording: it must not use up all memory, and reading it must end.

use std::fmt;

use super::parse::Line;
use crate::{event::EventKind, text::units::whole_mib};

/// Memory that one line takes in the session and its report, without its text; measured for a process, which takes
/// most.
const EACH_LINE: u64 = 3 << 10;
/// The same for each byte of its text.
const EACH_BYTE: u64 = 4;
/// The same for each string in a list: an argument or a variable.
const EACH_STRING: u64 = 160;
/// Copies of a name that one line can cause.
const COPIES: u64 = 6;
/// Maximal number of damaged lines; then the rest is not read.
const MAX_DAMAGED: u32 = 100_000;

/// Why the rest of a file was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeftOut {
    /// It would take more memory than `limit`.
    Memory {
        /// The limit, in bytes.
        limit: u64,
    },
    /// A line does not end.
    EndlessLine,
    /// Too many lines are damaged.
    Damaged,
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory { limit } => {
                let limit = whole_mib(*limit);
                write!(f, "more of it would take more than {limit} of memory")
            }
            Self::EndlessLine => f.write_str("it holds a line that does not end"),
            Self::Damaged => {
                write!(f, "{MAX_DAMAGED} lines of it cannot be read")
            }
        }
    }
}

/// The budget of one recording.
#[derive(Clone, Debug)]
pub(super) struct Budget {
    limit: u64,
    /// Memory taken so far, without `copied`.
    used: u64,
    /// Number of lines that take memory.
    lines: u64,
    /// Memory that the report may copy for each line: the longest name, the largest environment.
    copied: u64,
    damaged: u32,
}

impl Budget {
    /// A budget of `limit` bytes.
    pub(super) fn new(limit: u64) -> Self {
        Self { limit, used: 0, lines: 0, copied: 0, damaged: 0 }
    }

    /// Charges a line of `length` bytes.
    pub(super) fn take(&mut self, line: &Line, length: usize) -> Result<(), LeftOut> {
        match line {
            // Only the first checkpoint of a row takes memory, see `Budget::take_row`.
            Line::Checkpoint(_) => Ok(()),
            Line::StartedHere(_) | Line::Survey | Line::End(_) | Line::Unknown => Ok(()),
            Line::Row(_) | Line::Loss(_) => self.add(length as u64 * EACH_BYTE),
            Line::Event(event) => {
                self.copied = self.copied.max(copied(&event.kind));
                self.add(length as u64 * EACH_BYTE + strings(&event.kind) as u64 * EACH_STRING)
            }
        }
    }

    /// Charges an open row.
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

    /// Counts a damaged line.
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
        EventKind::Arguments { argv, .. } => argv.len(),
        EventKind::Claim(claim) => claim.command.len(),
        EventKind::Sandbox(sandbox) => sandbox.handed_in.len(),
        EventKind::Fork { .. }
        | EventKind::Exit(_)
        | EventKind::Object { .. }
        | EventKind::FirstIo { .. }
        | EventKind::Fact { .. }
        | EventKind::Holder { .. }
        | EventKind::File { .. }
        | EventKind::Log { .. }
        | EventKind::BlockedThread(_)
        | EventKind::LogRead(_)
        | EventKind::NotSeen(_) => 0,
    }
}

/// Bytes that the report may copy for other lines: names of objects and processes are repeated wherever they occur.
fn copied(event: &EventKind) -> u64 {
    let name = |text: &str| COPIES * text.len() as u64;
    match event {
        EventKind::Image(image) => name(&image.comm),
        EventKind::Exit(exit) => name(&exit.comm),
        EventKind::Fork { comm, .. }
        | EventKind::FirstIo { comm, .. }
        | EventKind::Holder { comm, .. } => name(comm),
        EventKind::Object { name: path, .. } | EventKind::File { renamed: path, .. } => name(path),
        EventKind::Environment { variables, .. } => {
            variables.iter().map(|(name, value)| (name.len() + value.len()) as u64).sum()
        }
        EventKind::Claim(claim) => name(claim.container.as_deref().unwrap_or_default()),
        EventKind::Sandbox(sandbox) => name(&sandbox.container),
        EventKind::Fact { .. }
        | EventKind::Arguments { .. }
        | EventKind::Log { .. }
        | EventKind::BlockedThread(_)
        | EventKind::LogRead(_)
        | EventKind::NotSeen(_) => 0,
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

    /// Number of lines of this kind that fit into 1 MiB.
    fn fitting(line: &Line) -> usize {
        let mut budget = Budget::new(1 << 20);
        (0..).take_while(|_| budget.take(line, 60).is_ok()).count()
    }

    #[test]
    fn lines_strings_and_copies_are_charged() {
        let plain = fitting(&image(0, ""));
        assert!((200..400).contains(&plain), "{plain}");
        assert!(fitting(&image(100, "")) < plain / 4);
        assert!(fitting(&image(0, &"x".repeat(4000))) < plain / 4);
        let mut budget = Budget::new(0);
        assert_eq!(budget.take(&Line::Survey, 20), Ok(()));
        assert_eq!(budget.take_row(), Err(LeftOut::Memory { limit: 0 }));
    }
}
