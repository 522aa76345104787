//! The ends of streams that lost output, as the recorder has kept them.

use std::io;

use tracer_core::{
    report::{Report, Tail},
    text::units::{count, exact},
};

use crate::render::{
    Style,
    live::fd_name,
    palette::{FAINT, ODD, STRONG},
    text::{Page, Text},
};

/// How many lines of each are shown.
const MOST_LINES: usize = 20;
/// The longest part of a line that is shown, in bytes.
const LONGEST: usize = 1_024;

/// Writes the ends of streams of a report, each after an empty line: how much was kept of how much, and the last lines.
///
/// # Errors
/// Errors of `out`.
pub fn tails(report: &Report, style: &Style, out: &mut dyn io::Write) -> io::Result<()> {
    let mut page = Page::new(style, out);
    for tail in &report.tails {
        page.line(&Text::default())?;
        page.words(Text::default(), 2, STRONG, &head(tail))?;
        quote(&mut page, &tail.text)?;
    }
    if let Some(more) = more(report) {
        page.line(&Text::default())?;
        page.words(Text::default(), 2, ODD, &more)?;
    }
    Ok(())
}

/// `4 further streams lost output; of one command the ends of 16 are kept`
pub(in crate::render) fn more(report: &Report) -> Option<String> {
    let (more, kept) = (report.more_tails, report.tails.len());
    let streams = count(more, "further stream");
    (more > 0).then(|| format!("{streams} lost output; of one command the ends of {kept} are kept"))
}

/// `the end of fd 1 stdout: 4,797 B of the 8,893 B written are lost; of these 4,797 B were kept:`
pub(in crate::render) fn head(tail: &Tail) -> String {
    let Tail { fd, written, lost, kept, missing, not_kept, .. } = tail;
    let stream = format!("the end of {}", fd_name(*fd));
    let of = match lost {
        Some(lost) => format!("{} of the {} written are lost", exact(*lost), exact(*written)),
        None => format!("{} were written", exact(*written)),
    };
    let why = not_kept.map(|why| why.words());
    if *kept == 0 {
        let why = why.map(|why| format!(": {why}")).unwrap_or_default();
        return format!("{stream}: {of}; tail not kept{why}");
    }
    let missing = match missing {
        0 => String::new(),
        missing => format!(", {} among them are missing", exact(*missing)),
    };
    let why = why.map(|why| format!(" ({why})")).unwrap_or_default();
    format!("{stream}: {of}; the last {} were kept{missing}{why}:", exact(*kept))
}

fn quote(page: &mut Page<'_>, text: &str) -> io::Result<()> {
    let lines: Vec<&str> = text.strip_suffix('\n').unwrap_or(text).split('\n').collect();
    let before = lines.len().saturating_sub(MOST_LINES);
    if before > 0 {
        let words =
            format!("… {} before this; --format json has all", count(before as u64, "line"));
        page.words(Text::blank(2), 4, FAINT, &words)?;
    }
    if text.is_empty() {
        return Ok(());
    }
    lines.into_iter().skip(before).try_for_each(|line| {
        let cut = line.ceil_char_boundary(line.len().saturating_sub(LONGEST));
        if cut > 0 {
            page.words(Text::blank(2), 4, ODD, &format!("… {} of this line", exact(cut as u64)))?;
        }
        page.quote(2, line.get(cut..).unwrap_or_default())
    })
}

#[cfg(test)]
mod tests {
    use tracer_core::report::NotKept;

    use super::*;
    use crate::render::tests::samples;

    fn shown(tail: Tail) -> String {
        shown_with(tail, 0)
    }

    fn shown_with(tail: Tail, more_tails: u64) -> String {
        let mut out = Vec::new();
        let report = Report { tails: vec![tail], more_tails, ..samples::delivered() };
        tails(&report, &Style { color: false, width: 200 }, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn tail(text: &str) -> Tail {
        let kept = text.len() as u64;
        let (written, lost) = (9_000, Some(4_000));
        Tail { fd: 1, written, lost, kept, text: text.to_owned(), ..Tail::default() }
    }

    #[test]
    fn what_was_kept_of_how_much_is_told_and_lines_are_escaped() {
        let text = shown(tail("a\u{1b}[2J\nb\n"));
        let expected = "\nthe end of fd 1 stdout: 4,000 B of the 9,000 B written are lost; \
                        the last 8 B were kept:\n  │ a\\x1b[2J\n  │ b\n";
        assert_eq!(text, expected);
        let short = Tail { missing: 5, not_kept: Some(NotKept::Limit), ..tail("b") };
        let words = "the last 1 B were kept, 5 B among them are missing (no more is kept of each stream (--keep-tail)):";
        assert!(shown(short).contains(words), "{words}");
    }

    #[test]
    fn what_was_not_kept_has_its_reason() {
        let none = Tail { lost: None, not_kept: Some(NotKept::NoRoom), ..tail("") };
        let expected = "\nthe end of fd 1 stdout: 9,000 B were written; tail not kept: \
                        the tails of all streams had reached their limit (--max-memory)\n";
        assert_eq!(shown(none), expected);
    }

    #[test]
    fn streams_without_a_tail_are_counted() {
        let one = "\n1 further stream lost output; of one command the ends of 1 are kept\n";
        assert!(shown_with(tail("b"), 1).ends_with(one));
        assert!(shown_with(tail("b"), 9).contains("\n9 further streams lost output;"));
        assert!(!shown(tail("b")).contains("further"));
    }

    #[test]
    fn of_long_text_the_end_is_shown() {
        let lines: String = (1..=30).map(|number| format!("{number}\n")).collect();
        let text = shown(tail(&lines));
        assert!(text.contains("… 10 lines before this") && text.ends_with("  │ 30\n"), "{text}");
        let text = shown(tail(&"é".repeat(10_000)));
        assert!(text.len() < 4_000 && text.contains("of this line"), "{text}");
    }
}
