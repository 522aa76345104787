//! One line of the live view: its prefix, its escaped text, and what is missing.

use std::io::{self, Write};

use anstyle::Style as Ink;
use tracer_common::ledger::LedgerKey;
use tracer_core::text::{escape, redact::Redact, shorten};

use super::{Gap, LINE, Pending};
use crate::render::{
    Style,
    gap::missing,
    live::fd_name,
    palette::{ERR, ODD, OTHER, OUT, PLAIN},
    text::Text,
};

/// The most columns of a process's name. The kernel gives at most 15 bytes.
const NAME: usize = 32;
/// Marks text that ends in a line feed.
const WHOLE: &str = "│";
/// Marks text that continues.
const PART: &str = "┆";

/// Style of the lines.
#[derive(Debug)]
pub(super) struct Lines {
    pub(super) style: Style,
    pub(super) raw: bool,
    pub(super) redact: Option<Redact>,
}

impl Lines {
    /// Adds bytes to a stream, and writes lines that are complete or too long.
    pub(super) fn take(
        &self,
        key: &LedgerKey,
        pending: &mut Pending,
        bytes: &[u8],
        out: &mut dyn Write,
    ) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.write_gap(key, pending, out)?;
        let held = if self.redact.is_some() { 2 * LINE } else { LINE };
        let mut rest = bytes;
        while !rest.is_empty() {
            let room = held.saturating_sub(pending.text.len());
            let window = rest.get(..room).unwrap_or(rest);
            let line_feed = window.iter().position(|byte| *byte == b'\n');
            let taken = line_feed.unwrap_or(window.len());
            pending.text.extend_from_slice(&window[..taken]);
            rest = &rest[taken..];
            if line_feed.is_some() {
                self.whole(key, pending, out)?;
                rest = &rest[1..];
            } else if pending.text.len() >= held {
                let end = self.cut(&pending.text);
                self.part(key, pending, end, out)?;
            }
        }
        Ok(())
    }

    /// Adds missing bytes to a stream.
    pub(super) fn miss(
        &self,
        key: &LedgerKey,
        pending: &mut Pending,
        gap: Gap,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        if gap.length == 0 {
            return Ok(());
        }
        self.part(key, pending, pending.text.len(), out)?;
        // What follows may not be the rest of that line.
        pending.is_continued = false;
        if let Some(known) = &mut pending.gap
            && (known.reason, known.source_fd) == (gap.reason, gap.source_fd)
        {
            known.length = known.length.saturating_add(gap.length);
            return Ok(());
        }
        self.write_gap(key, pending, out)?;
        pending.gap = Some(gap);
        Ok(())
    }

    /// Writes how many bytes are missing.
    pub(super) fn write_gap(
        &self,
        key: &LedgerKey,
        pending: &mut Pending,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let Some(gap) = pending.gap.take() else { return Ok(()) };
        let source = gap.source_fd.map(|fd| format!("fd {fd}"));
        let words = format!("[{}]", missing(gap.length, gap.reason, source.as_deref()));
        let line = prefix(key, &pending.comm, WHOLE).and(PLAIN, " ").and(ODD, &words);
        writeln!(out, "{}", line.render(&self.style))
    }

    /// Writes everything that is left of a stream.
    pub(super) fn rest(
        &self,
        key: &LedgerKey,
        pending: &mut Pending,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        self.write_gap(key, pending, out)?;
        self.part(key, pending, pending.text.len(), out)
    }

    /// Writes the first bytes of a line that continues.
    pub(super) fn part(
        &self,
        key: &LedgerKey,
        pending: &mut Pending,
        end: usize,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let end = end.min(pending.text.len());
        if end == 0 {
            return Ok(());
        }
        self.write(key, &pending.comm, PART, (&pending.text, end), out)?;
        pending.text.drain(..end);
        pending.is_continued = true;
        Ok(())
    }

    /// Writes a complete line. If it was shown up to its line feed, there is nothing to write.
    fn whole(&self, key: &LedgerKey, pending: &mut Pending, out: &mut dyn Write) -> io::Result<()> {
        if !pending.is_continued || !pending.text.is_empty() {
            let text = (pending.text.as_slice(), pending.text.len());
            self.write(key, &pending.comm, WHOLE, text, out)?;
        }
        pending.text.clear();
        pending.is_continued = false;
        Ok(())
    }

    /// Where to cut a line that is too long: between characters, and not inside a match of a pattern.
    fn cut(&self, text: &[u8]) -> usize {
        let end = whole_characters(text.get(..LINE).unwrap_or(text));
        let hidden = self.redact.as_ref().map(|redact| redact.matches(text)).unwrap_or_default();
        let within = hidden.into_iter().find(|range| range.start < end && end < range.end);
        within.map_or(end, |range| range.end)
    }

    fn write(
        &self,
        key: &LedgerKey,
        comm: &str,
        mark: &str,
        (text, end): (&[u8], usize),
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let shown = match &self.redact {
            Some(redact) => redact.slice(text, 0..end),
            None => text.get(..end).unwrap_or(text).into(),
        };
        let mut line = prefix(key, comm, mark).render(&self.style).into_bytes();
        if !shown.is_empty() {
            line.push(b' ');
        }
        if self.raw {
            line.extend_from_slice(&shown);
        } else {
            line.extend_from_slice(visible(&shown).as_bytes());
        }
        line.push(b'\n');
        out.write_all(&line)
    }
}

/// `docker[71] stderr │`
fn prefix(key: &LedgerKey, comm: &str, mark: &str) -> Text {
    let (name, ink): (String, Ink) = match key.fd {
        1 => ("stdout".to_owned(), OUT),
        2 => ("stderr".to_owned(), ERR),
        fd => (fd_name(fd), OTHER),
    };
    let comm = if comm.is_empty() { "(no name)".to_owned() } else { shorten(comm, NAME) };
    Text::styled(ink, &format!("{comm}[{}] {name} {mark}", key.process.tgid))
}

/// Bytes as text: invalid UTF-8 and what a terminal would act upon become `\xff`, `\x1b`.
fn visible(bytes: &[u8]) -> String {
    let mut shown = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        shown.push_str(&escape(chunk.valid()));
        for byte in chunk.invalid() {
            shown.push_str(&format!("\\x{byte:02x}"));
        }
    }
    shown
}

/// Length of the text without an incomplete character at its end.
pub(super) fn whole_characters(bytes: &[u8]) -> usize {
    let invalid = bytes.utf8_chunks().last().map_or(&[][..], |chunk| chunk.invalid());
    let is_begun = std::str::from_utf8(invalid).is_err_and(|error| error.error_len().is_none());
    if is_begun { bytes.len() - invalid.len() } else { bytes.len() }
}
