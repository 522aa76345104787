//! The lines of a tail, with what is missing among them.

use crate::{
    capture::{Reason, tails::TailPart},
    text::{
        redact::{MARK, Redact},
        units,
    },
};

/// A line with its line feed, or a gap.
enum Line {
    Output {
        bytes: Vec<u8>,
        /// Bytes at its front that are not shown. Patterns see them.
        hidden: usize,
        /// Whether a part of it is missing, so that a pattern may not match what it should.
        is_torn: bool,
    },
    Gap(u64, Reason),
}

/// The lines so far.
pub(super) struct Lines {
    lines: Vec<Line>,
    /// Whether what comes next continues a line whose beginning is missing.
    is_torn: bool,
    /// Bytes that are shown.
    pub(super) kept: u64,
    /// Bytes that are missing among them.
    pub(super) missing: u64,
}

impl Lines {
    /// No lines yet; with `is_torn` the first one has lost its beginning.
    pub(super) fn new(is_torn: bool) -> Self {
        Self { lines: Vec::new(), is_torn, kept: 0, missing: 0 }
    }

    /// Adds a part, of which `hidden` bytes are not shown.
    pub(super) fn add(&mut self, part: &TailPart, hidden: u64) {
        let shown = part.length() - hidden;
        match part {
            TailPart::Bytes(_, bytes) => {
                self.kept += shown;
                // It is at most the length of the bytes.
                self.bytes(bytes, hidden as usize);
            }
            TailPart::Gap(_, _, reason) => {
                self.missing = self.missing.saturating_add(shown);
                if let Some(Line::Output { bytes, is_torn, .. }) = self.lines.last_mut() {
                    *is_torn |= bytes.last() != Some(&b'\n');
                }
                self.is_torn = true;
                self.lines.push(Line::Gap(shown, *reason));
            }
        }
    }

    fn bytes(&mut self, bytes: &[u8], mut hidden: usize) {
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            let before = hidden.min(line.len());
            hidden -= before;
            match self.lines.last_mut() {
                Some(Line::Output { bytes, hidden, .. }) if bytes.last() != Some(&b'\n') => {
                    bytes.extend_from_slice(line);
                    *hidden += before;
                }
                _ => {
                    let is_torn = std::mem::take(&mut self.is_torn);
                    self.lines.push(Line::Output { bytes: line.to_vec(), hidden: before, is_torn });
                }
            }
        }
    }

    /// What is shown. With patterns a line is not shown of which a part is missing.
    pub(super) fn text(&self, redact: Option<&Redact>) -> Vec<u8> {
        let mut text = Vec::new();
        for line in &self.lines {
            match line {
                Line::Output { bytes, hidden, .. } if *hidden >= bytes.len() => {}
                Line::Output { bytes, hidden, is_torn } => {
                    let end = bytes.strip_suffix(b"\n").map_or(bytes.len(), <[u8]>::len);
                    let body = bytes.get(..end).unwrap_or_default();
                    match redact {
                        Some(_) if *is_torn => text.extend_from_slice(MARK.as_bytes()),
                        Some(redact) => {
                            text.extend_from_slice(&redact.slice(body, (*hidden).min(end)..end));
                        }
                        None => text.extend_from_slice(body.get(*hidden..).unwrap_or_default()),
                    }
                    text.extend_from_slice(bytes.get(end..).unwrap_or_default());
                }
                Line::Gap(0, _) => {}
                Line::Gap(length, reason) => {
                    let begun = text.last().is_some_and(|last| *last != b'\n');
                    let line_feed = if begun { "\n" } else { "" };
                    let (length, why) = (units::exact(*length), reason.words());
                    text.extend(format!("{line_feed}[{length} missing: {why}]\n").into_bytes());
                }
            }
        }
        text
    }
}
