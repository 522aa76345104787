//! `--show`: the output itself while it is written: `docker[71] stderr │ Error response from daemon …`.

mod line;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, io};

use tracer_common::ledger::LedgerKey;
use tracer_core::{
    capture::{
        Reason,
        chunk::{Chunk, Content},
    },
    text::redact::Redact,
};

use self::line::Lines;
use super::Style;

/// How many bytes of a line are shown as one line.
const LINE: usize = 8 << 10;
/// How many streams can have an unfinished line. If there are more, the one that has been idle for longest is shown.
const MOST_STREAMS: usize = 256;

/// Turns chunks into lines, each with the name of its process and stream.
///
/// A line is held back until it is complete, so that the outputs of several programs do not mix within a line. `│`
/// marks text that ends in a line feed, `┆` text that does not, or not yet: at [`Show::idle`], at [`Show::end`],
/// before a gap, after 8 KiB, and if more than 256 streams have such text.
///
/// Patterns of `--redact` are matched against whole lines before anything is escaped, so a secret is found even if it
/// came in two writes. With patterns, a line is therefore not shown before it ends, however long it is idle. Of a
/// line that is longer than 8 KiB, another 8 KiB are matched first. A secret is not found if it is spread over
/// several lines, has a gap in it, is longer than that, is interrupted by colour codes or other invisible characters,
/// or goes through two fds in turns.
#[derive(Debug)]
pub struct Show {
    lines: Lines,
    pending: BTreeMap<LedgerKey, Pending>,
    /// Number of chunks, to find the stream that has been idle for longest.
    turn: u64,
}

/// Text of a stream that has not ended.
#[derive(Debug, Default)]
struct Pending {
    comm: String,
    text: Vec<u8>,
    /// Whether a part of this line was shown already.
    is_continued: bool,
    /// Missing bytes, while the reason stays the same.
    gap: Option<Gap>,
    turn: u64,
}

#[derive(Debug, PartialEq, Eq)]
struct Gap {
    length: u64,
    reason: Reason,
    source_fd: Option<i32>,
}

impl Show {
    /// A view without text. With `raw`, bytes go to the terminal unchanged.
    #[must_use]
    pub fn new(style: Style, raw: bool, redact: Option<Redact>) -> Self {
        Self { lines: Lines { style, raw, redact }, pending: BTreeMap::new(), turn: 0 }
    }

    /// Adds a chunk, and writes the lines that it completes. Ignores [`Chunk::lost`].
    ///
    /// # Errors
    /// Errors of `out`.
    pub fn see(&mut self, chunk: &Chunk, out: &mut dyn io::Write) -> io::Result<()> {
        self.turn += 1;
        let turn = self.turn;
        let pending = self.pending.entry(chunk.key).or_default();
        pending.turn = turn;
        if pending.comm != chunk.comm {
            pending.comm.clone_from(&chunk.comm);
        }
        match &chunk.content {
            Content::Bytes(bytes) => self.lines.take(&chunk.key, pending, bytes, out)?,
            Content::Missing { length, reason, source } => {
                let source_fd = source.map(|source| source.fd).filter(|fd| *fd >= 0);
                let gap = Gap { length: *length, reason: *reason, source_fd };
                self.lines.miss(&chunk.key, pending, gap, out)?;
            }
        }
        if pending.is_done() {
            self.pending.remove(&chunk.key);
        }
        self.bound(out)
    }

    /// Writes prompts and other text without a line feed, except if it may be the first half of a match of a pattern.
    /// To be called when no chunk has come for a moment.
    ///
    /// # Errors
    /// Errors of `out`.
    pub fn idle(&mut self, out: &mut dyn io::Write) -> io::Result<()> {
        for (key, pending) in &mut self.pending {
            self.lines.write_gap(key, pending, out)?;
            if self.lines.redact.is_none() {
                let end = line::whole_characters(&pending.text);
                self.lines.part(key, pending, end, out)?;
            }
        }
        self.pending.retain(|_, pending| !pending.is_done());
        Ok(())
    }

    /// Writes all remaining text. To be called after the last chunk.
    ///
    /// # Errors
    /// Errors of `out`.
    pub fn end(&mut self, out: &mut dyn io::Write) -> io::Result<()> {
        for (key, mut pending) in std::mem::take(&mut self.pending) {
            self.lines.rest(&key, &mut pending, out)?;
        }
        Ok(())
    }

    /// Writes the text that has been idle for longest, if too many streams have unfinished text.
    fn bound(&mut self, out: &mut dyn io::Write) -> io::Result<()> {
        if self.pending.len() <= MOST_STREAMS {
            return Ok(());
        }
        let oldest = self.pending.iter().min_by_key(|(_, pending)| pending.turn);
        let Some(key) = oldest.map(|(key, _)| *key) else { return Ok(()) };
        match self.pending.remove(&key) {
            Some(mut pending) => self.lines.rest(&key, &mut pending, out),
            None => Ok(()),
        }
    }
}

impl Pending {
    fn is_done(&self) -> bool {
        self.text.is_empty() && !self.is_continued && self.gap.is_none()
    }
}
