//! The output itself while it is written: `docker[71] stderr │ Error response from daemon …`.

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

/// Bytes of a line that are shown as one; more go on in the next.
const LINE: usize = 8 << 10;
/// Streams with an unfinished line. One more, and the one that rested longest is shown as it is.
const MOST_STREAMS: usize = 256;

/// Makes lines out of chunks, each behind the name of its process and stream.
///
/// A line is held until it is whole, so that the outputs of several programs do not mix within one.
/// `│` stands before what ends in a line feed, `┆` before what does not or not yet: at [`Show::idle`],
/// [`Show::end`], before a gap, after 8 KiB, and when more than 256 streams have such text.
///
/// Patterns of `--redact` look at whole lines, before anything is made visible, so a secret is found
/// although two writes brought it. A line is therefore not shown before it ends, however long it rests,
/// and of a longer one than 8 KiB another 8 KiB are looked at first. What is not found: a secret that
/// is spread over lines, that has a gap inside or is longer than that, that colour codes or other
/// invisible characters interrupt, or that goes through two fds in turns.
#[derive(Debug)]
pub struct Show {
    lines: Lines,
    pending: BTreeMap<LedgerKey, Pending>,
    /// Counts chunks, to know which stream rested longest.
    turn: u64,
}

/// What a stream has begun and not ended.
#[derive(Debug, Default)]
struct Pending {
    comm: String,
    text: Vec<u8>,
    /// Whether a part of this line was shown already.
    goes_on: bool,
    /// Missing bytes, as long as it is the same reason.
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
    /// Nothing was written yet. With `raw`, bytes go to the terminal as they are.
    #[must_use]
    pub fn new(style: Style, raw: bool, redact: Option<Redact>) -> Self {
        Self { lines: Lines { style, raw, redact }, pending: BTreeMap::new(), turn: 0 }
    }

    /// Takes a chunk, and writes the lines that it completes. [`Chunk::lost`] is not looked at.
    ///
    /// # Errors
    /// Whatever `out` answers.
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

    /// Nothing came for a moment: shows prompts and other text that waits for its line feed, unless it
    /// may hold the first half of what is to be redacted.
    ///
    /// # Errors
    /// Whatever `out` answers.
    pub fn idle(&mut self, out: &mut dyn io::Write) -> io::Result<()> {
        for (key, pending) in &mut self.pending {
            self.lines.tell_gap(key, pending, out)?;
            if self.lines.redact.is_none() {
                let end = line::whole_characters(&pending.text);
                self.lines.part(key, pending, end, out)?;
            }
        }
        self.pending.retain(|_, pending| !pending.is_done());
        Ok(())
    }

    /// Nothing comes any more: shows everything.
    ///
    /// # Errors
    /// Whatever `out` answers.
    pub fn end(&mut self, out: &mut dyn io::Write) -> io::Result<()> {
        for (key, mut pending) in std::mem::take(&mut self.pending) {
            self.lines.rest(&key, &mut pending, out)?;
        }
        Ok(())
    }

    /// Shows what rested longest when too many streams have text that did not end.
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
        self.text.is_empty() && !self.goes_on && self.gap.is_none()
    }
}
