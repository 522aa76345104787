//! The end of recovered output, for a report.

use bytes::Bytes;

use crate::{
    capture::Reason,
    text::{redact::Redact, units},
};

/// Maximal number of bytes.
const MAX_BYTES: usize = 2 << 10;
/// Maximal number of lines.
const MAX_LINES: usize = 20;
/// Number of bytes that are read: a whole line is redacted, even if only its end is quoted.
pub(super) const WINDOW: u64 = 64 << 10;

/// Bytes, or a gap with its length and reason.
#[derive(Clone, Debug)]
pub(super) enum Quoted {
    Bytes(Bytes),
    Gap(u64, Reason),
}

/// A line of the output with its line feed, and the number of bytes at its front that are not shown; or the words for
/// a gap, which count as 0 bytes.
enum Line {
    Output(Vec<u8>, usize),
    Gap(String),
}

/// The last lines as text, and their number of bytes. `context` precedes the parts in the first line: patterns see
/// it, and it is not shown.
pub(super) fn excerpt(context: &[u8], parts: &[Quoted], redact: Option<&Redact>) -> (String, u64) {
    let mut room = MAX_BYTES;
    let mut shown: Vec<String> = Vec::new();
    for line in lines(context, parts).iter().rev().take(MAX_LINES) {
        match line {
            Line::Gap(words) => shown.push(words.clone()),
            Line::Output(line, hidden) if line.len() - hidden <= room => {
                shown.push(text(line, *hidden, redact));
                room -= line.len() - hidden;
            }
            // The end of a line that is too long is quoted, and no line before it.
            Line::Output(line, _) if room == MAX_BYTES => {
                shown.push(text(line, begin(line, line.len() - room), redact));
                room = begin(line, line.len() - room) + room - line.len();
                break;
            }
            Line::Output(..) => break,
        }
    }
    shown.reverse();
    (shown.concat(), (MAX_BYTES - room) as u64)
}

fn lines(context: &[u8], parts: &[Quoted]) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    if !context.is_empty() {
        lines.push(Line::Output(context.to_vec(), context.len()));
    }
    for part in parts {
        match part {
            Quoted::Gap(length, reason) => {
                let begun = matches!(lines.last(), Some(Line::Output(line, _)) if !ends(line));
                let line_feed = if begun { "\n" } else { "" };
                let (length, why) = (units::exact(*length), reason.words());
                lines.push(Line::Gap(format!("{line_feed}[{length} missing: {why}]\n")));
            }
            Quoted::Bytes(bytes) => {
                for line in bytes.split_inclusive(|byte| *byte == b'\n') {
                    match lines.last_mut() {
                        Some(Line::Output(begun, _)) if !ends(begun) => {
                            begun.extend_from_slice(line);
                        }
                        _ => lines.push(Line::Output(line.to_vec(), 0)),
                    }
                }
            }
        }
    }
    lines
}

fn ends(line: &[u8]) -> bool {
    line.last() == Some(&b'\n')
}

/// The next offset that is not inside a character.
fn begin(line: &[u8], at: usize) -> usize {
    let is_within = |byte: &&u8| **byte & 0xc0 == 0x80;
    let within = line.get(at..).unwrap_or_default().iter().take(3).take_while(is_within).count();
    at + within
}

fn text(line: &[u8], from: usize, redact: Option<&Redact>) -> String {
    let end = if ends(line) { line.len() - 1 } else { line.len() };
    let line_feed = if ends(line) { "\n" } else { "" };
    let body = line.get(..end).unwrap_or(line);
    let shown = match redact {
        Some(redact) => redact.slice(body, from.min(end)..end),
        None => body.get(from..).unwrap_or_default().into(),
    };
    format!("{}{line_feed}", String::from_utf8_lossy(&shown))
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn of(parts: &[&[u8]]) -> Vec<Quoted> {
        parts.iter().map(|part| Quoted::Bytes(Bytes::copy_from_slice(part))).collect()
    }

    #[test]
    fn lines_in_several_parts_are_joined_and_gaps_have_lines_of_their_own() {
        let mut parts = of(&[b"a\nb", b"c\n", b"half"]);
        parts.push(Quoted::Gap(1055, Reason::RingFull));
        parts.extend(of(&[b"d"]));
        let (text, taken) = excerpt(b"", &parts, None);
        assert_eq!(text, "a\nbc\nhalf\n[1,055 B missing: the ring was full]\nd");
        assert_eq!(taken, 10);
    }

    #[test]
    fn the_last_twenty_lines_are_quoted() {
        let all: String = (1..=30).map(|number| format!("{number}\n")).collect();
        let (text, taken) = excerpt(b"", &of(&[all.as_bytes()]), None);
        assert!(text.starts_with("11\n") && text.ends_with("\n30\n"), "{text}");
        assert_eq!(taken, 60);
    }

    #[test]
    fn of_a_long_line_the_end_is_quoted_between_characters_and_redacted_as_a_whole() {
        let (text, taken) =
            excerpt(b"", &of(&[b"before\n", "é".repeat(3000).as_bytes(), b"x"]), None);
        assert_eq!(text, format!("{}x", "é".repeat(1023)));
        assert_eq!(taken, 2047);
        let redact = Redact::new(&["token=\\w+"]).unwrap();
        let line = format!("token={} end", "s".repeat(2100));
        let (text, taken) = excerpt(b"", &of(&[line.as_bytes()]), Some(&redact));
        assert_eq!((text.as_str(), taken), ("[redacted] end", 2048));
    }

    #[test]
    fn a_secret_in_two_parts_is_redacted() {
        let redact = Redact::new(&["secret"]).unwrap();
        let (text, taken) = excerpt(b"", &of(&[b"a sec", b"ret\n"]), Some(&redact));
        assert_eq!((text.as_str(), taken), ("a [redacted]\n", 9));
    }

    proptest! {
        #[test]
        fn an_excerpt_is_the_end_of_the_output(parts in vec("[a-cé\n]{0,900}", 0..5)) {
            let all = parts.concat();
            let parts: Vec<&[u8]> = parts.iter().map(|part| part.as_bytes()).collect();
            let (text, taken) = excerpt(b"", &of(&parts), None);
            prop_assert!(all.ends_with(&text));
            prop_assert_eq!(text.len() as u64, taken);
            prop_assert!(taken <= MAX_BYTES as u64 && text.lines().count() <= MAX_LINES);
            prop_assert_eq!(text.is_empty(), all.is_empty());
        }
    }
}
