//! Lines of text whose width is known before they are coloured, and the page that they are written on.
//!
//! All human output is written through this module, and [`Text`] escapes everything that is put into it. Lines end
//! and colours begin only where this module says so.

use std::{borrow::Cow, fmt::Write as _, io};

use anstyle::Style as Ink;
use textwrap::{Options, WordSeparator, WordSplitter, core::display_width};
use tracer_core::text::{escape, shorten};

use super::{
    Style,
    palette::{FAINT, PLAIN},
};

/// A narrower page gets no layout; the terminal wraps.
const NARROWEST: usize = 40;

/// The most columns of a sentence, or of a part of a line: two of the longest paths (`PATH_MAX`). What is longer was
/// written by another program than this version of tracer, and is cut.
const LONGEST: usize = 8192;

/// Escaped text, cut at [`LONGEST`].
fn shown(text: &str) -> Cow<'_, str> {
    // No character has more columns than bytes, except one that is escaped.
    match escape(text) {
        short if short.len() <= LONGEST => short,
        long => Cow::Owned(shorten(&long, LONGEST)),
    }
}

/// A line, or a part of one.
#[derive(Clone, Debug, Default)]
pub(super) struct Text {
    spans: Vec<(Ink, String)>,
    width: usize,
}

impl Text {
    /// Unstyled text.
    pub(super) fn plain(text: &str) -> Self {
        Self::styled(PLAIN, text)
    }

    /// Styled text.
    pub(super) fn styled(ink: Ink, text: &str) -> Self {
        Self::default().and(ink, text)
    }

    /// Spaces.
    pub(super) fn blank(columns: usize) -> Self {
        Self::plain(&" ".repeat(columns))
    }

    /// Adds styled text.
    pub(super) fn and(mut self, ink: Ink, text: &str) -> Self {
        let shown = shown(text).into_owned();
        self.width += display_width(&shown);
        self.spans.push((ink, shown));
        self
    }

    /// Appends another line's content.
    pub(super) fn then(mut self, other: Self) -> Self {
        self.width += other.width;
        self.spans.extend(other.spans);
        self
    }

    /// Appends spaces up to a width.
    pub(super) fn padded(self, width: usize) -> Self {
        let missing = width.saturating_sub(self.width);
        if missing == 0 { self } else { self.then(Self::blank(missing)) }
    }

    /// Cut to a width; cut text ends with `…`.
    fn cut(mut self, width: usize) -> Self {
        let mut room = width;
        if self.width <= width {
            return self;
        }
        for at in 0..self.spans.len() {
            let Some((_, text)) = self.spans.get_mut(at) else { break };
            let columns = display_width(text);
            if columns < room {
                room -= columns;
                continue;
            }
            *text = shorten(&format!("{text}…"), room);
            self.spans.truncate(at + 1);
            break;
        }
        self.width = self.spans.iter().map(|(_, text)| display_width(text)).sum();
        self
    }

    /// Its width in columns.
    pub(super) fn width(&self) -> usize {
        self.width
    }

    /// The text for the terminal, without spaces at its end.
    pub(super) fn render(&self, style: &Style) -> String {
        let mut line = String::new();
        let filled =
            self.spans.iter().rposition(|(_, text)| !text.trim_end_matches(' ').is_empty());
        for (index, (ink, text)) in self.spans.iter().enumerate() {
            let text = match filled {
                Some(last) if index < last => text,
                Some(last) if index == last => text.trim_end_matches(' '),
                _ => break,
            };
            if style.color {
                // Writing to a string cannot fail.
                let _ = write!(line, "{ink}{text}{ink:#}");
            } else {
                line.push_str(text);
            }
        }
        line
    }
}

/// The destination of human text.
pub(super) struct Page<'a> {
    out: &'a mut dyn io::Write,
    style: &'a Style,
    begun: bool,
    /// Whether no line exceeds the width.
    is_strict: bool,
}

impl<'a> Page<'a> {
    /// An empty page.
    pub(super) fn new(style: &'a Style, out: &'a mut dyn io::Write) -> Self {
        Self { out, style, begun: false, is_strict: false }
    }

    /// An empty page on which no line exceeds the width: long words are broken, and long lines are cut.
    pub(super) fn strict(style: &'a Style, out: &'a mut dyn io::Write) -> Self {
        Self { is_strict: true, ..Self::new(style, out) }
    }

    /// Width of a line in columns.
    pub(super) fn width(&self) -> usize {
        self.style.width.max(NARROWEST)
    }

    /// Writes an empty line, if something was written before.
    pub(super) fn section(&mut self) -> io::Result<()> {
        if self.begun { writeln!(self.out) } else { Ok(()) }
    }

    /// Writes one line.
    pub(super) fn line(&mut self, text: &Text) -> io::Result<()> {
        self.begun = true;
        let line = match self.is_strict {
            true => text.clone().cut(self.width()).render(self.style),
            false => text.render(self.style),
        };
        writeln!(self.out, "{line}")
    }

    /// Writes words after `lead`, and wraps them. Further lines are indented to `indent`, so that quoted text cannot
    /// look like a line of its own.
    pub(super) fn words(
        &mut self,
        lead: Text,
        indent: usize,
        ink: Ink,
        words: &str,
    ) -> io::Result<()> {
        self.tagged(lead, indent, ink, words, "")
    }

    /// The same with a faint word at the end.
    pub(super) fn tagged(
        &mut self,
        lead: Text,
        indent: usize,
        ink: Ink,
        words: &str,
        tag: &str,
    ) -> io::Result<()> {
        let mut words = shown(words);
        if !tag.is_empty() {
            words = Cow::Owned(format!("{words} {tag}"));
        }
        let first = " ".repeat(lead.width());
        let next = " ".repeat(indent);
        // On a whole report, long words exceed the width: a path or an option that is cut cannot be copied.
        let options = Options::new(self.width())
            .initial_indent(&first)
            .subsequent_indent(&next)
            .word_separator(WordSeparator::AsciiSpace)
            .word_splitter(WordSplitter::NoHyphenation)
            .break_words(self.is_strict);
        let lines = textwrap::wrap(&words, options);
        let last = lines.len().saturating_sub(1);
        let mut lead = Some(lead);
        for (index, line) in lines.iter().enumerate() {
            let (begin, indent) = match lead.take() {
                Some(lead) => (lead, first.len()),
                None => (Text::plain(&next), next.len()),
            };
            let line = line.get(indent..).unwrap_or_default();
            let text = match line.strip_suffix(tag) {
                Some(line) if index == last => begin.and(ink, line).and(FAINT, tag),
                _ => begin.and(ink, line),
            };
            self.line(&text)?;
        }
        Ok(())
    }

    /// Writes a quoted line unchanged. What does not fit continues on the next line. Each line has a mark at its
    /// front, so that quoted text cannot look like something else.
    pub(super) fn quote(&mut self, indent: usize, text: &str) -> io::Result<()> {
        let shown = escape(text);
        let width = self.width().saturating_sub(indent + 2);
        let mut rest: &str = &shown;
        let mut mark = "│ ";
        loop {
            let (line, next) = rest.split_at(fitting(rest, width));
            self.line(&Text::blank(indent).and(FAINT, mark).and(PLAIN, line))?;
            if next.is_empty() {
                return Ok(());
            }
            (rest, mark) = (next, "┆ ");
        }
    }

    /// Writes parts after `lead`. A part that does not fit starts a new line, which is indented to `indent` or to
    /// three fifths of the width.
    pub(super) fn parts(
        &mut self,
        lead: Text,
        indent: usize,
        between: &str,
        parts: impl IntoIterator<Item = Text>,
    ) -> io::Result<()> {
        let indent = indent.min(self.width() * 3 / 5);
        let mut line = lead;
        let mut gap = "";
        for part in parts {
            let width = line.width() + display_width(gap) + part.width();
            // A new line helps only if it has more room.
            if width > self.width() && line.width() > indent {
                self.line(&line)?;
                line = Text::blank(indent).then(part);
            } else {
                line = line.and(PLAIN, gap).then(part);
            }
            gap = between;
        }
        self.line(&line)
    }
}

/// Length of the text that fits into this many columns: at least one character, so that every call makes progress.
fn fitting(text: &str, columns: usize) -> usize {
    let mut width = 0;
    let mut ends = text.char_indices().map(|(at, character)| {
        width += display_width(character.encode_utf8(&mut [0; 4])).max(1);
        (at, width)
    });
    let too_far = ends.find(|(at, width)| *at > 0 && *width > columns);
    too_far.map_or(text.len(), |(at, _)| at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_break_in_words_begins_no_line() {
        let mut page = Vec::new();
        let style = Style { color: false, width: 80 };
        let words = "it is called a\n✓ all is well";
        Page::new(&style, &mut page).words(Text::blank(2), 2, PLAIN, words).unwrap();
        assert_eq!(String::from_utf8(page).unwrap(), "  it is called a\\n✓ all is well\n");
    }
}
