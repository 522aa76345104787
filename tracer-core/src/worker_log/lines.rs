//! Splits chunks into lines, with bounded memory.

use super::MAX_LINE;

/// Bytes of a too long line that are kept, to show it.
pub(super) const HEAD: usize = 1024;

/// A line without its line break.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Line<'a> {
    Whole(&'a [u8]),
    TooLong { head: &'a [u8] },
}

/// Splits a byte stream at line feeds. A carriage return before a line feed belongs to the line break.
#[derive(Debug, Default)]
pub(super) struct LineSplitter {
    held: Vec<u8>,
    too_long: bool,
}

impl LineSplitter {
    pub(super) fn feed(&mut self, chunk: &[u8], mut on_line: impl FnMut(Line<'_>)) {
        let mut pieces = chunk.split(|&byte| byte == b'\n').peekable();
        while let Some(piece) = pieces.next() {
            let is_ended = pieces.peek().is_some();
            if is_ended && self.held.is_empty() && piece.len() <= MAX_LINE {
                on_line(Line::Whole(without_return(piece)));
                continue;
            }
            self.hold(piece);
            if is_ended {
                self.give(&mut on_line);
            }
        }
    }

    /// Passes on the rest after the last line break, if there is one.
    pub(super) fn finish(&mut self, mut on_line: impl FnMut(Line<'_>)) {
        if !self.held.is_empty() {
            self.give(&mut on_line);
        }
    }

    fn hold(&mut self, piece: &[u8]) {
        if self.too_long {
            return;
        }
        let room = MAX_LINE.saturating_sub(self.held.len());
        if piece.len() <= room {
            self.held.extend_from_slice(piece);
            return;
        }
        self.held.extend(piece.iter().take(HEAD));
        self.held.truncate(HEAD);
        self.held.shrink_to_fit();
        self.too_long = true;
    }

    fn give(&mut self, on_line: &mut impl FnMut(Line<'_>)) {
        let line = if self.too_long {
            Line::TooLong { head: &self.held }
        } else {
            Line::Whole(without_return(&self.held))
        };
        on_line(line);
        self.held.clear();
        self.too_long = false;
    }
}

fn without_return(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_over_the_limit_is_skipped_and_the_next_one_is_whole() {
        let mut splitter = LineSplitter::default();
        let mut seen = Vec::new();
        for _ in 0..5 {
            splitter.feed(&vec![b'x'; MAX_LINE / 4], |_| panic!("no line has ended"));
            assert!(splitter.held.capacity() <= 2 * MAX_LINE);
        }
        assert_eq!(splitter.held.len(), HEAD);
        for chunk in ["tail\nnext\r\nin ", "two\n"] {
            splitter.feed(chunk.as_bytes(), |line| {
                seen.push(match line {
                    Line::Whole(text) => String::from_utf8(text.to_vec()).unwrap(),
                    Line::TooLong { head } => format!("{} of too many", head.len()),
                });
            });
        }
        assert_eq!(seen, ["1024 of too many", "next", "in two"]);
    }

    #[test]
    fn a_line_of_exactly_the_limit_is_whole_and_one_byte_more_is_not() {
        for (length, is_whole) in [(MAX_LINE, true), (MAX_LINE + 1, false)] {
            let mut line = vec![b'x'; length];
            line.push(b'\n');
            let mut at_once = None;
            LineSplitter::default()
                .feed(&line, |line| at_once = Some(matches!(line, Line::Whole(_))));
            let mut in_two = None;
            let mut splitter = LineSplitter::default();
            splitter.feed(&line[..10], |_| panic!("no line has ended"));
            splitter.feed(&line[10..], |line| in_two = Some(matches!(line, Line::Whole(_))));
            assert_eq!((at_once, in_two), (Some(is_whole), Some(is_whole)));
        }
    }
}
