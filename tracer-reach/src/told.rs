//! Which entries are told to systems outside, and how much of each text.

use tracer_history::{Entry, Stream, severity};

/// The longest text of one attribute or field, in bytes. What is longer is cut at a character.
pub(crate) const LONGEST: usize = 1_024;
/// The longest sentence, in bytes: the history keeps 1,024 characters.
pub(crate) const LONGEST_SENTENCE: usize = 4_096;

/// Whether an entry says that something is odd. The others are in the history only.
pub(crate) fn has_finding(entry: &Entry) -> bool {
    entry.has_loss || entry.severity != severity::INFO
}

/// Whether the finding is about output that did not arrive, and not a warning only.
pub(crate) fn is_loss(entry: &Entry) -> bool {
    entry.has_loss || entry.severity == severity::LOSS
}

/// Bytes that did not arrive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Missing {
    /// Bytes that were written and that no process can read any more.
    pub(crate) lost: u64,
    /// Bytes that the kernel refused.
    pub(crate) refused: u64,
}

/// What did not arrive of these streams.
pub(crate) fn missing_of<'a>(streams: impl IntoIterator<Item = &'a Stream>) -> Missing {
    let fates = streams.into_iter().filter_map(|stream| stream.fate);
    fates.fold(Missing::default(), |sum, fate| Missing {
        lost: sum.lost.saturating_add(fate.lost),
        refused: sum.refused.saturating_add(fate.refused),
    })
}

/// The beginning of a text, this many bytes at most.
pub(crate) fn cut(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}

/// Name of a standard stream.
pub(crate) const fn stream_name(fd: i32) -> &'static str {
    if fd == 1 { "stdout" } else { "stderr" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_between_characters() {
        assert_eq!(cut("añb", 2), "a");
        assert_eq!(cut("añb", 3), "añ");
        assert_eq!(cut("añb", 9), "añb");
    }

    #[test]
    fn a_loss_is_a_finding_whatever_its_severity() {
        let entry = |severity: &str, has_loss| Entry {
            severity: severity.into(),
            has_loss,
            ..Entry::default()
        };
        assert!(!has_finding(&entry("info", false)) && has_finding(&entry("info", true)));
        assert!(has_finding(&entry("warning", false)) && !is_loss(&entry("warning", false)));
        assert!(is_loss(&entry("loss", false)) && is_loss(&entry("warning", true)));
    }
}
