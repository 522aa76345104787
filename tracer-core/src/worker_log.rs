//! What a process manager's own log claims: which processes it started, and how many bytes of
//! each stream it handed out.
//!
//! The kernel says what a manager *read*; only its log says what it *gave away*. A difference
//! between the two is output lost inside the manager. This module turns log bytes into [`Statement`]s
//! and counts what it could not read. It opens no file and asks no clock.
//!
//! Read are zerolog's console form (with or without colours), zerolog's JSON form, and for any
//! other manager one JSON object a line: `{"pid":71,"stream":"stdout","bytes":4096}`, with
//! `"container_id"` and `"time"` if it has them. The log may come out of a container runtime: CRI
//! prefixes, docker's json-file objects and `kubectl logs --timestamps` are peeled off, also when
//! nested, and lines that a runtime cut into pieces are put together again.
//!
//! A manager relays its guests' output as log lines of its own, and a guest may print what looks
//! like a claim. So a claim counts only at debug level (a failure: at warn level), with the exact message. One hole is left,
//! and only in the console form: that form prints a message as it is, so a relayed message with a
//! line break in it starts a line that no reader can tell from the manager's own. JSON has no such
//! hole.

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

/// The longest line that is read, alone or put together from pieces. A longer one is counted bad.
pub const MAX_LINE: usize = 1 << 20;

/// How many wrappers are peeled off one line.
const MAX_WRAPPERS: usize = 4;

/// How many characters of the first bad line are kept.
const SHOWN: usize = 160;

/// One statement of the manager.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// The container the process is in, if the line says so.
    pub container: Option<String>,
    /// The process, as numbered *inside the container's pid namespace*.
    pub pid: u32,
    /// When the manager said it.
    pub time: Option<StatementTime>,
    /// What it said.
    pub what: StatementKind,
}

/// When a line was written, as exactly as the log tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatementTime {
    /// Nanoseconds since 1970. Managers often write whole seconds, rounded down; where a runtime
    /// stamped the same line more finely, its stamp is taken.
    UnixNanos(i64),
    /// A time of day without date, second or zone: the manager's local time, rounded down.
    TimeOfDay {
        /// 0 to 23.
        hour: u8,
        /// 0 to 59.
        minute: u8,
    },
}

/// What a manager can claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StatementKind {
    /// It started a process.
    Started {
        /// The command. Logs that print `[a b]` have lost the borders between arguments: there, an
        /// argument with spaces comes as several. A command logged as one string comes as one.
        command: Vec<String>,
    },
    /// It could not wait for the command, or returned an error for it, and says no pid.
    Failed {
        /// The command, as in [`StatementKind::Started`].
        command: Vec<String>,
    },
    /// It handed so many bytes of a stream to whoever asked. Zero is a claim too.
    Returned {
        /// Which of the process's streams.
        stream: Stream,
        /// How many bytes in this one reply.
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

/// Everything behind the line splitter, apart from it so that the two can be borrowed at once.
#[derive(Debug, Default)]
struct Statements {
    pieces: Pieces,
    ready: Vec<Statement>,
    lines: u64,
    bad: u64,
    first_bad: Option<String>,
}

impl Reader {
    /// A reader at the start of a log, or at any line border in it.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes of the log; gives the claims of the lines that they complete.
    pub fn feed(&mut self, chunk: &[u8]) -> Vec<Statement> {
        let Self { splitter, reading } = self;
        splitter.feed(chunk, |line| reading.line(line));
        std::mem::take(&mut reading.ready)
    }

    /// The log is complete: reads a last line that has no line break.
    ///
    /// Not for a log that is still being written: half of `stdout_len=2048` reads as another
    /// number. A line whose runtime announced another piece that never came is never a claim.
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

    /// How many lines were read, blank and unrelated ones included.
    #[must_use]
    pub fn lines(&self) -> u64 {
        self.reading.lines
    }

    /// How many lines look like a claim and cannot be read, or are longer than [`MAX_LINE`].
    #[must_use]
    pub fn bad(&self) -> u64 {
        self.reading.bad
    }

    /// The first of the bad lines, shortened and with its control characters spelled out.
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
            Reading::Statement(claim) => self.ready.push(claim),
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
    // A character has at most four bytes; no need to decode a whole megabyte.
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
