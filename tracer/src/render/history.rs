//! `tracer history` and `tracer why`: commands of the past.

pub(in crate::render) mod gap;
mod past;
mod tail;
#[cfg(test)]
mod tests;

use std::io;

use anstyle::Style as Ink;
use jiff::{Timestamp, Zoned, civil::Date, tz::TimeZone};
use serde::Serialize;
use tracer_core::text::{json::harmless_line, shorten, units::exact};
use tracer_history::{Answer, Entry, Gap, Place, severity};

pub(in crate::render) use self::tail::{head as tail_head, more as more_tails};
pub use self::{
    past::{Past, past},
    tail::tails,
};
use super::{
    Style,
    palette::{BAD, FAINT, GOOD, ODD, PLAIN, STRONG},
    text::{Page, Text},
};

/// The schema of the lines for programs.
const SCHEMA: &str = "tracer.history/1";
/// Columns of a command line in a list.
const COMMAND: usize = 48;

/// How times are written: in the time zone of the user, with the date if it is not that of today.
#[derive(Clone, Debug)]
pub struct Clock {
    zone: TimeZone,
    today: Date,
}

impl Clock {
    /// The clock of a user whose time and time zone are these.
    #[must_use]
    pub fn at(now: &Zoned) -> Self {
        Self { zone: now.time_zone().clone(), today: now.date() }
    }

    /// `03:12:04`, or `2026-11-27 03:12:04`.
    fn time(&self, us: i64) -> String {
        let Ok(time) = Timestamp::from_microsecond(us) else { return "an unknown time".to_owned() };
        let time = time.to_zoned(self.zone.clone());
        let form = if time.date() == self.today { "%H:%M:%S" } else { "%Y-%m-%d %H:%M:%S" };
        time.strftime(form).to_string()
    }
}

/// One line of a list.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum HistoryItem<'a> {
    /// A command.
    Entry(&'a Entry),
    /// A time in which something was not seen or not kept.
    Gap(&'a Gap),
}

/// A line for programs.
#[derive(Serialize)]
struct Line<T> {
    schema: &'static str,
    #[serde(flatten)]
    content: T,
}

/// Writes an item as a JSON object on one line.
///
/// # Errors
/// Errors of `out`.
pub fn history_json(item: HistoryItem<'_>, out: &mut dyn io::Write) -> io::Result<()> {
    harmless_line(&Line { schema: SCHEMA, content: item }, out)
}

/// Writes an item as a line for a person.
///
/// # Errors
/// Errors of `out`.
pub fn history_line(
    item: HistoryItem<'_>,
    clock: &Clock,
    style: &Style,
    out: &mut dyn io::Write,
) -> io::Result<()> {
    let line = match item {
        HistoryItem::Entry(entry) => {
            let (bytes, ink) = bytes_of(entry);
            lead(entry, clock)
                .and(PLAIN, &format!("  {}  ", shorten(command_of(entry), COMMAND)))
                .and(ink, &bytes)
                .and(FAINT, &format!("  ({})", entry.rule))
        }
        HistoryItem::Gap(gap) => Text::styled(FAINT, &clock.time(gap.from_us))
            .and(ODD, &format!("  …  {}", gap::words(gap, clock))),
    };
    Page::new(style, out).line(&line)
}

/// `03:12:04  ✗ report-1  docker`: when and where.
fn lead(entry: &Entry, clock: &Clock) -> Text {
    let (mark, ink) = mark_of(entry);
    let (place, kind) = place_of(&entry.place);
    let text = Text::styled(FAINT, &clock.time(entry.ended_us))
        .and(PLAIN, "  ")
        .and(ink, mark)
        .and(PLAIN, " ")
        .and(STRONG, &place);
    if kind.is_empty() { text } else { text.and(PLAIN, "  ").and(FAINT, &kind) }
}

fn mark_of(entry: &Entry) -> (&'static str, Ink) {
    match entry.severity.as_str() {
        _ if entry.has_loss => ("✗", BAD),
        severity::WARNING | severity::LOSS => ("!", ODD),
        _ => ("✓", GOOD),
    }
}

/// The shortest name of a place, and what it is.
pub(crate) fn place_of(place: &Place) -> (String, String) {
    let engine = || place.engine.clone().unwrap_or_else(|| "container".to_owned());
    let id = place.container_id.as_deref().map(|id| id.get(..12).unwrap_or(id).to_owned());
    match (&place.namespace, &place.pod, place.container.clone().or(id), &place.unit) {
        (Some(namespace), Some(pod), Some(container), _) => {
            (format!("{namespace}/{pod}"), container)
        }
        (Some(namespace), Some(pod), None, _) => (format!("{namespace}/{pod}"), "pod".to_owned()),
        (_, _, Some(container), _) => (container, engine()),
        (_, _, _, Some(unit)) => (unit.clone(), "unit".to_owned()),
        _ => (place.cgroup.clone(), String::new()),
    }
}

fn command_of(entry: &Entry) -> &str {
    if entry.command.is_empty() { &entry.name } else { &entry.command }
}

/// `312 B, with a loss`: what the streams had together. How much of it arrived is in the sentence.
fn bytes_of(entry: &Entry) -> (String, Ink) {
    let sum = entry.streams.iter().fold(0_u64, |sum, stream| sum.saturating_add(stream.bytes));
    let running = if entry.is_interim { " so far" } else { "" };
    match entry.has_loss {
        true => (format!("{}{running}, with a loss", exact(sum)), BAD),
        false => (format!("{}{running}", exact(sum)), PLAIN),
    }
}

/// Writes an answer that is no command: one sentence.
///
/// # Errors
/// Errors of `out`.
pub fn no_answer(
    answer: &Answer,
    clock: &Clock,
    style: &Style,
    out: &mut dyn io::Write,
) -> io::Result<()> {
    let mut page = Page::new(style, out);
    let mut say = |ink, words: &str| page.words(Text::default(), 0, ink, words);
    match answer {
        Answer::TooOld { history_begins_us } => {
            say(PLAIN, &format!("The history begins at {}.", clock.time(*history_begins_us)))
        }
        Answer::Blind { gaps } => gaps.iter().try_for_each(|gap| say(ODD, &gap::blind(gap, clock))),
        Answer::NotSeen { from_us, until_us, covered, nearest } => {
            let (from, until) = (clock.time(*from_us), clock.time(*until_us));
            let attached = match covered {
                true => "tracer was attached all that time",
                false => "tracer was not attached all that time",
            };
            let words = format!("No such command ended between {from} and {until}; {attached}.");
            say(PLAIN, &words)?;
            let Some(entry) = nearest else { return Ok(()) };
            let (place, _) = place_of(&entry.place);
            let (ended, command) = (clock.time(entry.ended_us), command_of(entry));
            say(FAINT, &format!("The nearest one ended at {ended}: {command} in {place}."))
        }
        Answer::Empty => say(PLAIN, "The history is empty."),
        Answer::Found { .. } => Ok(()),
    }
}

/// An answer without a report, for programs.
#[derive(Serialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
enum AnswerLine<'a> {
    Found { entry: &'a Entry, others: u64, gaps: &'a [Gap] },
    TooOld { history_begins_us: i64 },
    Blind { gaps: &'a [Gap] },
    NotSeen { from_us: i64, until_us: i64, covered: bool, nearest: Option<&'a Entry> },
    Empty {},
}

/// Writes an answer as a JSON object on one line.
///
/// # Errors
/// Errors of `out`.
pub fn answer_json(answer: &Answer, out: &mut dyn io::Write) -> io::Result<()> {
    let line = match answer {
        Answer::Found { entry, others, gaps } => AnswerLine::Found { entry, others: *others, gaps },
        Answer::TooOld { history_begins_us } => {
            AnswerLine::TooOld { history_begins_us: *history_begins_us }
        }
        Answer::Blind { gaps } => AnswerLine::Blind { gaps },
        Answer::NotSeen { from_us, until_us, covered, nearest } => AnswerLine::NotSeen {
            from_us: *from_us,
            until_us: *until_us,
            covered: *covered,
            nearest: nearest.as_deref(),
        },
        Answer::Empty => AnswerLine::Empty {},
    };
    harmless_line(&Line { schema: SCHEMA, content: line }, out)
}
