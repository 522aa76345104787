//! Reads a process manager's log: which processes it claims to have started, and how many bytes of each stream it
//! claims to have returned.
//!
//! The kernel shows what a manager *read*; only its log shows what it *returned*. A difference between the two is
//! output lost inside the manager. This module turns log bytes into [`Statement`]s, adds them up ([`ClaimTally`]),
//! and counts lines that it could not read.
//!
//! It reads zerolog's console form (with or without colours), zerolog's JSON form, and for any other manager one JSON
//! object on each line: `{"pid":71,"stream":"stdout","bytes":4096}`, with optional `"container_id"` and `"time"`. The
//! log may come from a container runtime: CRI prefixes, docker's json-file objects and the stamps of `kubectl logs
//! --timestamps` are removed, also when nested, and lines that a runtime cut into pieces are joined.
//!
//! A manager relays its guests' output as log lines of its own, and a guest may print a line that looks like a
//! statement. So a statement counts only at debug level (a failure: at warn level) and with the exact message. One
//! hole is left, in the console form: it prints a message unescaped, so a relayed message with a line break starts a
//! line that looks like the manager's own. JSON has no such hole.

mod ansi;
mod console;
mod date;
mod docker_tally;
mod fields;
mod lines;
mod pieces;
mod quoted;
mod statement;
mod tally;
mod wrapper;

use std::borrow::Cow;

pub use self::{docker_tally::DockerLogTally, tally::ClaimTally};
use self::{
    lines::{Line, LineSplitter},
    pieces::{Joined, Pieces},
    statement::Reading,
    wrapper::Peeled,
};

/// Maximal length of a line, alone or joined from pieces. A longer one counts as bad.
pub const MAX_LINE: usize = 1 << 20;

/// Maximal number of wrappers that are removed from one line.
const MAX_WRAPPERS: usize = 4;

/// Number of characters of the first bad line that are kept.
const SHOWN: usize = 160;

/// One statement of the manager.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// The container of the process, if the line names it.
    pub container: Option<String>,
    /// The pid of the process *inside the container's pid namespace*.
    pub pid: u32,
    /// When the manager wrote it.
    pub time: Option<StatementTime>,
    /// Its content.
    pub what: StatementKind,
}

/// When a line was written, as precisely as the log has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatementTime {
    /// Nanoseconds since 1970. Managers often write whole seconds, rounded down; if a runtime stamped the same line
    /// with a finer time, that one is used.
    UnixNanos(i64),
    /// A time of day without date, second or zone: the manager's local time, rounded down.
    TimeOfDay {
        /// 0 to 23.
        hour: u8,
        /// 0 to 59.
        minute: u8,
    },
}

/// What a manager can state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StatementKind {
    /// It started a process.
    Started {
        /// The command. Logs that print `[a b]` have lost the borders between arguments, so an argument with spaces
        /// becomes several. A command that was logged as one string stays one.
        command: Vec<String>,
    },
    /// It could not wait for the command, or returned an error for it; without a pid.
    Failed {
        /// The command, as in [`StatementKind::Started`].
        command: Vec<String>,
    },
    /// It returned bytes of a stream to its client. Zero bytes count too.
    Returned {
        /// The stream of the process.
        stream: Stream,
        /// Number of bytes in this reply.
        bytes: u64,
    },
}

/// A stream of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stream {
    /// File descriptor 1.
    Stdout,
    /// File descriptor 2.
    Stderr,
}

/// Reads one log, in chunks that may end anywhere.
#[derive(Debug, Default)]
pub struct Reader {
    splitter: LineSplitter,
    reading: Statements,
}

/// Everything after the line splitter; separate so that both can be borrowed at the same time.
#[derive(Debug, Default)]
struct Statements {
    pieces: Pieces,
    ready: Vec<Statement>,
    lines: u64,
    bad: u64,
    first_bad: Option<String>,
}

impl Reader {
    /// A reader at the start of a log, or at the start of any line in it.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads the next bytes of the log; returns the statements of the lines that they complete.
    pub fn feed(&mut self, chunk: &[u8]) -> Vec<Statement> {
        let Self { splitter, reading } = self;
        splitter.feed(chunk, |line| reading.line(line));
        std::mem::take(&mut reading.ready)
    }

    /// Reads the last line of a complete log, if it has no line break.
    ///
    /// Not for a log that is still being written: half of `stdout_len=2048` is another number. A line of which a
    /// piece is missing is never a statement.
    pub fn finish(&mut self) -> Vec<Statement> {
        let Self { splitter, reading } = self;
        splitter.finish(|line| reading.line(line));
        for line in reading.pieces.unfinished() {
            let is_ours = line.is_too_long
                || !matches!(statement::read(&line.text, line.stamp), Reading::Unrelated);
            if is_ours {
                reading.bad(&line.text);
            }
        }
        std::mem::take(&mut reading.ready)
    }

    /// Number of lines, blank and unrelated ones included.
    #[must_use]
    pub fn lines(&self) -> u64 {
        self.reading.lines
    }

    /// Number of lines that look like a statement and cannot be read, or are longer than [`MAX_LINE`].
    #[must_use]
    pub fn bad(&self) -> u64 {
        self.reading.bad
    }

    /// The first bad line, shortened and with its control characters escaped.
    #[must_use]
    pub fn first_bad(&self) -> Option<&str> {
        self.reading.first_bad.as_deref()
    }
}

impl Statements {
    fn line(&mut self, line: Line<'_>) {
        self.lines = self.lines.saturating_add(1);
        match line {
            Line::Whole(text) => self.unwrap_and_read(text),
            Line::TooLong { head } => self.bad(head),
        }
    }

    fn unwrap_and_read(&mut self, line: &[u8]) {
        let mut text = ansi::without_leading(Cow::Borrowed(line));
        let mut stamp = None;
        for depth in 0..MAX_WRAPPERS {
            let (rest, stamped) = match wrapper::peel(&text) {
                Peeled::Nothing => break,
                Peeled::Stamped { rest, stamp } => (rest.to_vec(), Some(stamp)),
                Peeled::Piece(piece) => match self.pieces.join(depth, piece) {
                    Joined::Waiting => return,
                    Joined::Whole { text, stamp } => (text, stamp),
                    Joined::TooLong { head } => return self.bad(&head),
                },
            };
            stamp = date::finer(stamp, stamped);
            text = ansi::without_leading(Cow::Owned(rest));
        }
        match statement::read(&text, stamp) {
            Reading::Statement(statement) => self.ready.push(statement),
            Reading::Bad => self.bad(&text),
            Reading::Unrelated => {}
        }
    }

    fn bad(&mut self, text: &[u8]) {
        self.bad = self.bad.saturating_add(1);
        self.first_bad.get_or_insert_with(|| shortened(text));
    }
}

fn shortened(text: &[u8]) -> String {
    // A character has at most four bytes, so a short prefix is enough.
    let head = text.get(..SHOWN * 4).unwrap_or(text);
    let decoded = String::from_utf8_lossy(head);
    let mut shown = String::new();
    for character in decoded.chars().take(SHOWN) {
        if character.is_control() {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    if text.len() > head.len() || decoded.chars().nth(SHOWN).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests;
