//! What a human report shows: one screen or all of it, and which findings and processes.

use regex::{Regex, RegexBuilder};

/// The most bytes that a compiled pattern takes.
const LARGEST_PATTERN: usize = 1 << 20;

/// The choice of `--all`, `--only-loss` and `--grep`.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// Show the whole report rather than one screen.
    pub all: bool,
    /// Show only findings of lost output, and their processes.
    pub only_loss: bool,
    /// Show only findings and processes that this matches.
    pub grep: Option<Grep>,
}

/// A pattern for command lines and messages.
#[derive(Clone, Debug)]
pub struct Grep(Regex);

impl View {
    /// Whether something is left out on purpose.
    pub(super) fn is_filter(&self) -> bool {
        self.only_loss || self.grep.is_some()
    }
}

impl Grep {
    /// A pattern in the syntax of the `regex` crate. A search takes time in proportion to the text.
    ///
    /// # Errors
    /// One sentence about a pattern that cannot be used.
    pub fn new(pattern: &str) -> Result<Self, String> {
        if pattern.is_empty() {
            return Err("--grep '' matches everything: write a part of a command line".to_owned());
        }
        let built = RegexBuilder::new(pattern).size_limit(LARGEST_PATTERN).build();
        built.map(Self).map_err(|error| {
            // The last line has the error; the lines before it point to the place.
            let text = error.to_string();
            let last = text.lines().last().unwrap_or_default().trim();
            let reason = last.strip_prefix("error: ").unwrap_or(last);
            format!("--grep '{pattern}' is not a regular expression: {reason}")
        })
    }

    /// Whether the text has a match.
    pub(super) fn matches(&self, text: &str) -> bool {
        self.0.is_match(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_pattern_is_one_sentence() {
        for bad in ["", "(a", r"\w{100}{100}{100}"] {
            let sentence = Grep::new(bad).unwrap_err();
            assert!(sentence.starts_with("--grep") && sentence.lines().count() == 1, "{sentence}");
        }
        assert!(Grep::new("^make ").unwrap().matches("make all"));
    }
}
