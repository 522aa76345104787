//! Options on the command line of a docker client, as its parser (pflag) reads them.

use std::{ffi::OsString, os::unix::ffi::OsStrExt as _};

/// The options of a client or of a subcommand that take a value.
#[derive(Clone, Copy)]
pub(super) struct Options {
    /// `--NAME VALUE` or `--NAME=VALUE`.
    pub(super) long: &'static [&'static str],
    /// `-H VALUE`, `-HVALUE` or `-H=VALUE`, also behind letters without a value.
    pub(super) short: &'static [char],
}

/// One word, and the next one if that is its value.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Word<'a> {
    /// An option, with its value if it takes one.
    Option { name: &'a str, value: Option<String> },
    /// `--`: all later words are arguments.
    End,
    /// Anything else.
    Argument,
}

impl Options {
    /// The word at this place, and how many words it takes. `None` if the client refuses it: a value is missing, or a word
    /// is no text.
    pub(super) fn word(self, words: &[OsString], at: usize) -> Option<(Word<'_>, usize)> {
        let word = words.get(at)?;
        if !word.as_bytes().starts_with(b"-") || word == "-" {
            return Some((Word::Argument, 1));
        }
        let word = word.to_str()?;
        let next = || Some(words.get(at + 1)?.to_string_lossy().into_owned());
        if let Some(long) = word.strip_prefix("--") {
            return match long.split_once('=') {
                _ if long.is_empty() => Some((Word::End, 1)),
                Some((name, value)) => {
                    Some((Word::Option { name, value: Some(value.to_owned()) }, 1))
                }
                None if self.long.contains(&long) => {
                    Some((Word::Option { name: long, value: Some(next()?) }, 2))
                }
                None => Some((Word::Option { name: long, value: None }, 1)),
            };
        }
        let letters = word.strip_prefix('-')?;
        // What follows the letter in the same word is its value.
        let Some(place) = letters.find(self.short) else {
            return Some((Word::Option { name: letters, value: None }, 1));
        };
        let end = place + 1;
        let (name, rest) = (letters.get(place..end)?, letters.get(end..)?);
        if rest.is_empty() {
            return Some((Word::Option { name, value: Some(next()?) }, 2));
        }
        let value = rest.strip_prefix('=').unwrap_or(rest).to_owned();
        Some((Word::Option { name, value: Some(value) }, 1))
    }

    /// The place of the first argument: options behind it belong to something else.
    pub(super) fn first_argument(self, words: &[OsString], from: usize) -> Option<usize> {
        let mut at = from;
        loop {
            match self.word(words, at)? {
                (Word::Argument, _) => return Some(at),
                (Word::End, size) => return (at + size < words.len()).then_some(at + size),
                (Word::Option { .. }, size) => at += size,
            }
        }
    }

    /// The places of all arguments: options may be between them.
    pub(super) fn arguments(self, words: &[OsString], from: usize) -> Option<Vec<usize>> {
        let (mut at, mut found) = (from, Vec::new());
        while at < words.len() {
            let (word, size) = self.word(words, at)?;
            match word {
                Word::Argument => found.push(at),
                Word::End => {
                    found.extend(at + size..words.len());
                    break;
                }
                Word::Option { .. } => {}
            }
            at += size;
        }
        Some(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPTIONS: Options = Options { long: &["user"], short: &['u'] };

    fn words(line: &str) -> Vec<OsString> {
        line.split_whitespace().map(OsString::from).collect()
    }

    #[test]
    fn a_value_is_no_argument() {
        for line in [
            "--user root | web",
            "--user=root | web",
            "-u root | web",
            "-uroot | web",
            "-u=root | web",
            "-itu root | web",
            "-it --tty=false | web",
            "-- | -web",
            "| -",
            "-itd | web --user",
        ] {
            let at = words(line).iter().position(|word| word == "|").unwrap();
            let argv = words(&line.replace('|', ""));
            assert_eq!(OPTIONS.first_argument(&argv, 0), Some(at), "{line}");
        }
        for line in ["", "-u", "--user", "-it", "--", "-u web"] {
            assert_eq!(OPTIONS.first_argument(&words(line), 0), None, "{line}");
        }
    }

    #[test]
    fn values_are_read_in_every_form() {
        let value = |line: &str| match OPTIONS.word(&words(line), 0) {
            Some((Word::Option { name, value }, size)) => (name.to_owned(), value, size),
            other => panic!("{line}: {other:?}"),
        };
        let root = || Some("root".to_owned());
        assert_eq!(value("--user root"), ("user".to_owned(), root(), 2));
        assert_eq!(value("--user=root"), ("user".to_owned(), root(), 1));
        assert_eq!(value("-turoot"), ("u".to_owned(), root(), 1));
        assert_eq!(value("-u=root"), ("u".to_owned(), root(), 1));
        assert_eq!(value("-t root"), ("t".to_owned(), None, 1));
    }

    #[test]
    fn arguments_may_stand_between_options() {
        let all = |line: &str| OPTIONS.arguments(&words(line), 0);
        assert_eq!(all("a -u x b -t c"), Some(vec![0, 3, 5]));
        assert_eq!(all("-t -- a -u"), Some(vec![2, 3]));
        assert_eq!(all("a -u"), None);
    }
}
