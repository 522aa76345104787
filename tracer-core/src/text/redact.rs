//! Redaction: replaces bytes that match a pattern.

use std::{borrow::Cow, ops::Range};

use regex::bytes::Regex;

/// The replacement of a match.
pub const MARK: &str = "[redacted]";

/// The patterns of `--redact`. They apply to what is shown; files hold the original bytes.
#[derive(Clone, Debug)]
pub struct Redact {
    patterns: Vec<Regex>,
}

/// A pattern that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RedactError {
    /// It is not a regular expression.
    #[error("--redact '{pattern}' is not a regular expression: {reason}")]
    Syntax {
        /// The pattern as typed.
        pattern: String,
        /// The error, on one line.
        reason: String,
    },
    /// It is empty.
    #[error("--redact '' matches nothing: write what must not be shown, such as 'token=[^ ]+'")]
    Empty,
}

impl Redact {
    /// Patterns in the syntax of the `regex` crate.
    ///
    /// # Errors
    /// [`RedactError`] about the first pattern that cannot be used.
    pub fn new<P: AsRef<str>>(patterns: &[P]) -> Result<Self, RedactError> {
        let patterns = patterns.iter().map(|pattern| compiled(pattern.as_ref()));
        Ok(Self { patterns: patterns.collect::<Result<_, _>>()? })
    }

    /// The line with every match replaced by [`MARK`].
    #[must_use]
    pub fn line<'a>(&self, line: &'a [u8]) -> Cow<'a, [u8]> {
        self.slice(line, 0..line.len())
    }

    /// A part of a line, with each match replaced that overlaps the part.
    #[must_use]
    pub fn slice<'a>(&self, line: &'a [u8], part: Range<usize>) -> Cow<'a, [u8]> {
        let Range { start, end } = part;
        let mut hidden = self.matches(line);
        hidden.retain(|range| range.start < end && start < range.end);
        if hidden.is_empty() {
            return Cow::Borrowed(line.get(part).unwrap_or_default());
        }
        let mut kept = Vec::with_capacity(end.saturating_sub(start));
        let mut at = start;
        for range in hidden {
            kept.extend_from_slice(line.get(at..range.start).unwrap_or_default());
            kept.extend_from_slice(MARK.as_bytes());
            at = range.end;
        }
        kept.extend_from_slice(line.get(at..end).unwrap_or_default());
        Cow::Owned(kept)
    }

    /// The matches in a line, in order and without overlaps. Each pattern sees the original line, because one pattern
    /// may need the text that another one hides.
    #[must_use]
    pub fn matches(&self, line: &[u8]) -> Vec<Range<usize>> {
        // `$` matches before a carriage return.
        let text = line.strip_suffix(b"\r").unwrap_or(line);
        let mut found: Vec<Range<usize>> = self
            .patterns
            .iter()
            .flat_map(|pattern| pattern.find_iter(text))
            .map(|found| found.range())
            .filter(|range| !range.is_empty())
            .collect();
        found.sort_by_key(|range| (range.start, range.end));
        found.dedup_by(|next, known| {
            let overlaps = next.start < known.end;
            if overlaps {
                known.end = known.end.max(next.end);
            }
            overlaps
        });
        found
    }
}

fn compiled(pattern: &str) -> Result<Regex, RedactError> {
    if pattern.is_empty() {
        return Err(RedactError::Empty);
    }
    Regex::new(pattern).map_err(|error| RedactError::Syntax {
        pattern: pattern.to_owned(),
        reason: reason(&error),
    })
}

/// The last line of a syntax error has the error; the lines before it point to the place.
fn reason(error: &regex::Error) -> String {
    let text = error.to_string();
    let last = text.lines().last().unwrap_or_default().trim();
    last.strip_prefix("error: ").unwrap_or(last).to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(patterns: &[&str], line: &str) -> String {
        let redact = Redact::new(patterns).unwrap();
        String::from_utf8(redact.line(line.as_bytes()).into_owned()).unwrap()
    }

    #[test]
    fn every_match_of_every_pattern_is_replaced() {
        let shown = shown(&["token=[^ ]+", "[0-9]{4}"], "a token=abc b 1234 token=x");
        assert_eq!(shown, "a [redacted] b [redacted] [redacted]");
    }

    #[test]
    fn one_pattern_cannot_hide_the_match_of_another() {
        assert_eq!(shown(&["token", "token=\\w+"], "token=abc"), "[redacted]");
        assert_eq!(shown(&["redacted", "a+"], "aa"), "[redacted]");
    }

    #[test]
    fn the_end_of_a_line_is_before_its_carriage_return() {
        assert_eq!(shown(&["secret$"], "a secret\r"), "a [redacted]\r");
    }

    #[test]
    fn invalid_utf8_does_not_stop_redaction() {
        let redact = Redact::new(&["größe=\\w+"]).unwrap();
        let line = [b"\xff ".as_slice(), "größe=é\u{e9}".as_bytes(), b"\xfe"].concat();
        assert_eq!(&*redact.line(&line), b"\xff [redacted]\xfe");
    }

    #[test]
    fn a_part_hides_matches_that_go_beyond_it() {
        let redact = Redact::new(&["b+"]).unwrap();
        for (part, shown) in [
            (0..3, "aa[redacted]"),
            (0..2, "aa"),
            (4..8, "[redacted]cc"),
            (3..5, "[redacted]"),
            (6..8, "cc"),
        ] {
            assert_eq!(&*redact.slice(b"aabbbbcc", part), shown.as_bytes());
        }
    }

    #[test]
    fn a_bad_pattern_is_one_sentence_that_names_it() {
        for bad in ["(a", "[z-a]", "a{2", "(?P<x", "(a{500}{500}{500})"] {
            let sentence = Redact::new(&["fine", bad]).unwrap_err().to_string();
            assert!(sentence.contains(bad), "{sentence}");
            assert_eq!(sentence.lines().count(), 1, "{sentence}");
        }
        assert!(matches!(Redact::new(&[""]), Err(RedactError::Empty)));
    }

    proptest! {
        #[test]
        fn secrets_are_removed_and_other_text_stays(
            around in proptest::collection::vec("[a-z \r\u{1}é]{0,12}", 1..6),
        ) {
            let redact = Redact::new(&["S[0-9]+"]).unwrap();
            let line = around.join("S123");
            let shown = String::from_utf8(redact.line(line.as_bytes()).into_owned()).unwrap();
            prop_assert_eq!(shown, around.join(MARK));
        }
    }
}
