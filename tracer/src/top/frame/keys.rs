//! The page of keys.

use ratatui::text::{Line, Span};

use super::ink::{Ink, Inks};
use crate::top::keys::{BARS, MARKS, SECTIONS};

/// Columns of a key's name.
const NAME: usize = 15;

pub(super) fn lines(inks: Inks, width: u16) -> Vec<Line<'static>> {
    let mut lines = Vec::new();
    for section in &SECTIONS {
        part(&mut lines, section.title, section.keys, inks, width);
    }
    part(&mut lines, "Bars", &BARS, inks, width);
    part(&mut lines, "Marks", &MARKS, inks, width);
    lines
}

fn part(
    lines: &mut Vec<Line<'static>>,
    title: &'static str,
    rows: &[(&'static str, &'static str)],
    inks: Inks,
    width: u16,
) {
    lines.push(Line::styled(title, inks.style(Ink::Strong)));
    let room = usize::from(width).saturating_sub(NAME + 4).max(10);
    for (name, what) in rows {
        for (at, text) in textwrap::wrap(what, room).into_iter().enumerate() {
            let name = if at == 0 { *name } else { "" };
            lines.push(Line::from(vec![
                Span::styled(format!(" {name:<NAME$} "), inks.style(Ink::Key)),
                Span::raw(text.into_owned()),
            ]));
        }
    }
}
