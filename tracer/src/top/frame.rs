//! Draws a state. Everything that a traced program chose is escaped here.

mod bar;
mod command;
mod ink;
mod keys;
mod list;
mod top;

use ratatui::{
    buffer::Buffer,
    layout::{Margin, Rect},
    text::{Line, Span},
};
use tracer_core::text::shorten;

use self::ink::Ink;
pub(super) use self::ink::Inks;
use super::{
    keys::{HINTS_FOR_COMMAND, HINTS_FOR_KEYS, HINTS_FOR_RECORDING, HINTS_FOR_TRACE},
    state::{Page, State},
};

/// The smallest screen.
const LEAST_WIDTH: u16 = 40;
const LEAST_HEIGHT: u16 = 10;

/// Draws the whole screen. Measures the page, so that keys can move through it.
pub(super) fn draw(state: &mut State, inks: Inks, area: Rect, buffer: &mut Buffer) {
    if area.width < LEAST_WIDTH || area.height < LEAST_HEIGHT {
        let words = format!("tracer needs {LEAST_WIDTH}x{LEAST_HEIGHT}");
        set(buffer, area, 0, &Line::raw(words));
        set(buffer, area, 1, &Line::raw(format!("here: {}x{}", area.width, area.height)));
        set(buffer, area, 2, &Line::raw("q quits"));
        return;
    }
    let head = top::lines(state, inks, area.width, area.height);
    let height = u16::try_from(head.len()).unwrap_or(u16::MAX);
    for (row, line) in (0..).zip(head) {
        set(buffer, area, row, &line);
    }
    let page = Rect { y: area.y + height, height: area.height.saturating_sub(height + 1), ..area };
    match state.page {
        Page::List => list::draw(state, inks, page, buffer),
        Page::Command => {
            let lines = command::lines(state, inks, page.width);
            draw_text(state, lines, page, buffer);
        }
        Page::Keys => {
            let lines = keys::lines(inks, page.width);
            draw_text(state, lines, page, buffer);
        }
    }
    set(buffer, area, area.height - 1, &foot(state, inks, area.width));
}

/// Draws text that can be longer than the page.
fn draw_text(state: &mut State, lines: Vec<Line<'static>>, page: Rect, buffer: &mut Buffer) {
    state.measured(lines.len(), usize::from(page.height));
    let inner = page.inner(Margin::new(1, 0));
    for (row, line) in (0..page.height).zip(lines.into_iter().skip(state.offset)) {
        set(buffer, inner, row, &line);
    }
}

/// Writes a line of an area.
fn set(buffer: &mut Buffer, area: Rect, row: u16, line: &Line<'_>) {
    if row < area.height {
        buffer.set_line(area.x, area.y + row, line, area.width);
    }
}

/// The last line: a filter that is typed, a sentence, or the keys that matter now.
fn foot(state: &State, inks: Inks, width: u16) -> Line<'static> {
    let width = usize::from(width);
    if state.is_typing {
        let filter = shorten(&state.filter, width.saturating_sub(30));
        return Line::from(vec![
            Span::styled("/", inks.style(Ink::Strong)),
            Span::styled(filter, inks.style(Ink::Strong)),
            Span::styled("_", inks.style(Ink::Selected)),
            Span::styled("  Enter keeps it, Esc clears it", inks.style(Ink::Faint)),
        ]);
    }
    if let Some(notice) = &state.notice {
        return Line::styled(shorten(notice, width), inks.style(Ink::Strong));
    }
    let hints = match (state.page, state.playback.is_some()) {
        (Page::Keys, _) => HINTS_FOR_KEYS,
        (Page::Command, _) => HINTS_FOR_COMMAND,
        (Page::List, true) => HINTS_FOR_RECORDING,
        (Page::List, false) => HINTS_FOR_TRACE,
    };
    let mut spans = Vec::new();
    if state.page == Page::List && !state.filter.is_empty() {
        let filter = shorten(&state.filter, 20);
        spans.push(Span::styled(format!("/{filter}"), inks.style(Ink::Strong)));
        spans.push(Span::styled("  Esc clears it  ", inks.style(Ink::Faint)));
    }
    for (key, what) in hints {
        spans.push(Span::styled((*key).to_owned(), inks.style(Ink::Key)));
        spans.push(Span::styled(format!(" {what}  "), inks.style(Ink::Faint)));
    }
    Line::from(spans)
}
