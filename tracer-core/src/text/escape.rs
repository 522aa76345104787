//! Escapes quoted text. A traced program chooses its arguments, its name and its paths. It must not be able to move
//! the cursor, set the window title, hide text, reverse it or start a new line in a report about itself.

use std::{borrow::Cow, fmt::Write};

use textwrap::core::display_width;

/// Escapes text for a terminal: control characters, line separators, and characters that are invisible or change the
/// direction of others become `\n`, `\x1b`, `\u{202e}`.
///
/// Text without such characters is returned unchanged. Escaping twice has the same result as escaping once.
#[must_use]
pub fn escape(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_hazard) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    text.chars().for_each(|character| push(&mut shown, character));
    Cow::Owned(shown)
}

/// Escapes text and cuts it to `limit` columns; cut text ends with `…`.
#[must_use]
pub fn shorten(text: &str, limit: usize) -> String {
    let mut shown = String::new();
    let mut width = 0;
    let mut room_for_ellipsis = 0;
    for character in text.chars() {
        let start = shown.len();
        push(&mut shown, character);
        // A character without width counts as one column; a million of them would never reach the limit.
        width += display_width(&shown[start..]).max(1);
        if width > limit {
            shown.truncate(room_for_ellipsis);
            shown.push('…');
            return shown;
        }
        if width < limit {
            room_for_ellipsis = shown.len();
        }
    }
    shown
}

/// Whether a character can do harm on a terminal.
#[must_use]
pub fn is_hazard(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{ad}' // soft hyphen
            | '\u{34f}' // combining grapheme joiner
            | '\u{61c}' // Arabic letter mark
            | '\u{115f}' | '\u{1160}' | '\u{3164}' | '\u{ffa0}' // Hangul fillers
            | '\u{17b4}' | '\u{17b5}' // Khmer inherent vowels
            | '\u{180e}' // Mongolian vowel separator
            | '\u{200b}'..='\u{200f}' // zero width, direction marks
            | '\u{2028}'..='\u{202e}' // line separators, direction embeddings and overrides
            | '\u{2060}'..='\u{206f}' // invisible operators, direction isolates
            | '\u{feff}' // byte order mark
            | '\u{fff0}'..='\u{fffb}' // unassigned and ignored, interlinear annotation
            | '\u{1bca0}'..='\u{1bca3}' // shorthand format controls
            | '\u{1d173}'..='\u{1d17a}' // musical format controls
            | '\u{e0000}'..='\u{e0fff}') // tags, variation selectors without a sign to show
}

fn push(shown: &mut String, character: char) {
    if !is_hazard(character) {
        return shown.push(character);
    }
    let code = u32::from(character);
    // Writing to a string cannot fail.
    let _ = match character {
        '\n' => shown.write_str("\\n"),
        '\r' => shown.write_str("\\r"),
        '\t' => shown.write_str("\\t"),
        '\0'..='\x7f' => write!(shown, "\\x{code:02x}"),
        _ => write!(shown, "\\u{{{code:x}}}"),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_that_move_hide_or_reverse_text_are_escaped() {
        let cases = [
            ("a\nb\tc\rd", "a\\nb\\tc\\rd"),
            ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
            ("\u{9b}31m", "\\u{9b}31m"),
            ("\x7f\0", "\\x7f\\x00"),
            ("user\u{202e}txt.exe", "user\\u{202e}txt.exe"),
            ("a\u{3164}\u{115f}\u{1d173}\u{e0100}\u{34f}", {
                "a\\u{3164}\\u{115f}\\u{1d173}\\u{e0100}\\u{34f}"
            }),
            ("\u{2066}\u{200b}\u{2028}\u{2029}\u{feff}\u{e0041}", {
                "\\u{2066}\\u{200b}\\u{2028}\\u{2029}\\u{feff}\\u{e0041}"
            }),
        ];
        for (text, shown) in cases {
            assert_eq!(escape(text), shown);
            assert_eq!(escape(shown), shown, "escaping twice");
        }
    }

    #[test]
    fn ordinary_text_of_any_script_is_left_alone() {
        let text = "Größe 日本語 été ✓ C:\\dir 🐧 ⚠\u{fe0f} 한국어";
        assert!(matches!(escape(text), Cow::Borrowed(same) if same == text));
    }

    #[test]
    fn text_is_cut_at_columns_and_never_inside_an_escape() {
        assert_eq!(shorten("abcdef", 6), "abcdef");
        assert_eq!(shorten("abcdef", 5), "abcd…");
        assert_eq!(shorten("日本語", 5), "日本…");
        assert_eq!(shorten("日本語", 6), "日本語");
        assert_eq!(shorten("ab\x1b[2J", 5), "ab…");
        assert_eq!(shorten("a", 0), "…");
    }

    #[test]
    fn characters_without_width_count_against_the_limit() {
        let combining = "e\u{301}".repeat(1000);
        assert!(shorten(&combining, 10).chars().count() <= 10);
    }
}
