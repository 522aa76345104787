//! The list of commands.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    text::{Line, Span},
};
use tracer_core::{
    snapshot::Row,
    text::{shorten, units::short},
    verdict::Outcome,
};

use super::{
    bar::{bar, rate},
    ink::{Ink, Inks, mark},
    set,
};
use crate::top::state::{Line as Place, State};

/// Columns of a number of bytes.
const SIZE: usize = 7;
/// Columns of a rate.
const RATE: usize = 9;
/// Columns of the word about a command.
const WORD: usize = 9;
/// A deeper tree is not indented further.
const DEEPEST: usize = 8;

/// The columns at this width.
struct Columns {
    /// Columns of one bar; 0 if there is no room for bars.
    bar: usize,
    has_rate: bool,
}

impl Columns {
    fn at(width: usize) -> Self {
        match width {
            ..60 => Self { bar: 0, has_rate: false },
            60..80 => Self { bar: 4, has_rate: false },
            80..110 => Self { bar: 6, has_rate: true },
            _ => Self { bar: 12, has_rate: true },
        }
    }
}

pub(super) fn draw(state: &mut State, inks: Inks, area: Rect, buffer: &mut Buffer) {
    let columns = Columns::at(usize::from(area.width));
    set(buffer, area, 0, &title(&columns, inks, usize::from(area.width)));
    let height = usize::from(area.height.saturating_sub(1));
    state.measured(state.lines.len(), height);
    let selected = state.place();
    let shown = state.lines.iter().enumerate().skip(state.offset).take(height);
    for ((place, line), row) in shown.zip(1..) {
        let Some(known) = state.snapshot.rows.get(line.row) else { continue };
        let drawn = command(state, *line, known, &columns, (inks, usize::from(area.width)));
        set(buffer, area, row, &drawn);
        if place == selected {
            let line = Rect { y: area.y + row, height: 1, ..area };
            buffer.set_style(line, inks.style(Ink::Selected));
        }
    }
    if state.lines.is_empty() {
        let words = if state.filter.is_empty() {
            "  no command yet"
        } else {
            "  no command contains this text"
        };
        set(buffer, area, 1, &Line::styled(words, inks.style(Ink::Faint)));
    }
}

fn title(columns: &Columns, inks: Inks, width: usize) -> Line<'static> {
    let mut title = format!("{:>9} ", "PID");
    let stream = columns.bar + SIZE;
    title.push_str(&format!("{:<stream$} {:<stream$} ", " STDOUT", " STDERR"));
    if columns.has_rate {
        title.push_str(&format!("{:>RATE$} ", "RATE"));
    }
    title.push_str(&format!("{:<WORD$} COMMAND", "STATE"));
    let title: String = title.chars().chain(std::iter::repeat(' ')).take(width).collect();
    Line::styled(title, inks.style(Ink::Title))
}

fn command(
    state: &State,
    place: Place,
    row: &Row,
    columns: &Columns,
    (inks, width): (Inks, usize),
) -> Line<'static> {
    let is_in_trouble = row.is_stuck || mark(row.severity).1 != Ink::Good;
    let wrote = row.streams.iter().any(|bytes| bytes.written > 0);
    let (sign, ink) = match mark(row.severity) {
        _ if !is_in_trouble && !wrote => (" ", Ink::Plain),
        mark => mark,
    };
    let pid = if row.command.pid == 0 { String::new() } else { row.command.pid.to_string() };
    let mut spans = vec![Span::styled(sign, inks.style(ink)), Span::raw(format!("{pid:>8} "))];
    for bytes in &row.streams {
        spans.extend(bar(bytes, columns.bar, inks));
        let ink = if bytes.lost > 0 { Ink::Bad } else { Ink::Plain };
        let most = bytes.written.max(bytes.lost).max(bytes.inside);
        let text = if most == 0 { String::new() } else { short(most) };
        spans.push(Span::styled(format!("{text:>SIZE$} "), inks.style(ink)));
    }
    if columns.has_rate {
        let rate = rate(state.rates.of(&row.id).iter().sum());
        spans.push(Span::raw(format!("{rate:>RATE$} ")));
    }
    let (word, word_ink) = word(row);
    spans.push(Span::styled(format!("{word:<WORD$} "), inks.style(word_ink)));
    let used: usize = spans.iter().map(Span::width).sum();
    spans.extend(name(place, row, is_in_trouble, (inks, width.saturating_sub(used))));
    Line::from(spans)
}

/// The command line, below what started it.
fn name(
    place: Place,
    row: &Row,
    is_in_trouble: bool,
    (inks, width): (Inks, usize),
) -> [Span<'static>; 3] {
    let lead = match place.depth.min(DEEPEST) {
        0 => String::new(),
        depth => format!("{}└ ", "  ".repeat(depth - 1)),
    };
    let room = width.saturating_sub(lead.chars().count()).max(1);
    let ink = match row.command.exit {
        _ if is_in_trouble => Ink::Strong,
        Some(_) => Ink::Faint,
        None => Ink::Plain,
    };
    // What is below another command is where that is.
    let place = row.place.as_ref().filter(|_| place.depth == 0);
    let place = place.map_or(String::new(), |name| format!("{}: ", shorten(name, room / 2)));
    let room = room.saturating_sub(place.chars().count()).max(1);
    let name = shorten(&row.command.command, room);
    [(lead, Ink::Faint), (place, Ink::Faint), (name, ink)]
        .map(|(text, ink)| Span::styled(text, inks.style(ink)))
}

/// One word about a command: what is wrong, else how it ended.
fn word(row: &Row) -> (String, Ink) {
    let ink = mark(row.severity).1;
    if row.is_stuck {
        return ("STUCK".to_owned(), Ink::Odd);
    }
    let outcomes = row.command.streams.iter().flat_map(|stream| &stream.segments);
    let worst = outcomes.map(|segment| segment.outcome).min();
    if let Some(outcome) = worst.filter(|_| ink != Ink::Good) {
        return (outcome_word(outcome).to_owned(), ink);
    }
    match row.command.exit {
        None => ("runs".to_owned(), Ink::Plain),
        Some(exit) => match (exit.signal, exit.code) {
            (Some(signal), _) => (format!("killed {signal}"), Ink::Odd),
            (None, Some(0)) => ("exit 0".to_owned(), Ink::Faint),
            (None, Some(code)) => (format!("exit {code}"), Ink::Odd),
            (None, None) => ("ended".to_owned(), Ink::Faint),
        },
    }
}

/// What became of the bytes, in at most nine columns.
pub(super) fn outcome_word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Blocked => "blocked",
        Outcome::BlockedOpen => "opening",
        Outcome::Removed => "removed",
        Outcome::Overwritten => "overwrit.",
        Outcome::Cut => "cut off",
        Outcome::Unread => "unread",
        Outcome::Refused => "refused",
        Outcome::NotSeen => "not seen",
        Outcome::PutOff => "put off",
        Outcome::NeverWritten => "silent",
        Outcome::Discarded => "discarded",
        Outcome::Read => "read",
        Outcome::InFile => "in file",
        Outcome::Device => "terminal",
    }
}
