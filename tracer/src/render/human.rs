//! The report for a person: what happened, what to do, and then the numbers behind it.

mod captured;
mod fds;
mod filter;
mod losses;
mod objects;
mod paths;
mod processes;
mod recovered;
mod screen;
mod selection;
mod verdict;

use std::{collections::HashMap, io};

use tracer_core::{
    report::{Endpoint, Object, Report},
    text::{
        list_of, name as short_path,
        units::{count, duration},
    },
    verdict::Severity,
};

use self::selection::Selection;
pub(super) use self::{losses::sentence as loss_sentence, verdict::Lead};
use super::{
    Style, View,
    command::short_name,
    palette::{FAINT, PLAIN, mark},
    text::{Page, Text},
};

/// Writes the whole text, or one screen of it.
pub(super) fn write(
    report: &Report,
    view: &View,
    style: &Style,
    out: &mut dyn io::Write,
) -> io::Result<()> {
    let lead = Lead::of(report);
    let selected = view.is_filter().then(|| filter::select(report, view));
    let report = selected.as_ref().unwrap_or(report);
    if view.all {
        write_all(report, lead, view, &mut Page::new(style, out))
    } else {
        screen::write(report, lead, view, style, out)
    }
}

fn write_all(report: &Report, lead: Lead<'_>, view: &View, page: &mut Page<'_>) -> io::Result<()> {
    let selection = Selection::of(report);
    let objects = by_id(report);
    lead.write(page)?;
    verdict::write_others(page, lead.others(report))?;
    if filter::is_empty(report, view) {
        page.section()?;
        page.line(&Text::plain(filter::NOTHING))?;
    }
    recovered::write(page, report, &objects)?;
    processes::write(page, &report.summed_up, &selection, &objects)?;
    objects::write(page, report, &selection)?;
    paths::write(page, report)?;
    captured::write(page, report)?;
    losses::write(page, report)?;
    page.section()?;
    write_window(page, report)
}

fn by_id(report: &Report) -> HashMap<&str, &Object> {
    report.objects.iter().map(|object| (object.id.as_str(), object)).collect()
}

/// Writes what was traced, and when.
fn write_window(page: &mut Page<'_>, report: &Report) -> io::Result<()> {
    let seconds = duration(report.window.seconds * 1e3);
    let name = short_path(&report.target.name);
    let start = seconds_of(&report.window.start);
    let words = format!("traced {name} for {seconds}, from {start}");
    page.words(Text::default(), 2, FAINT, &words)?;
    let Some(doubt) = &report.target.doubt else { return Ok(()) };
    let (mark, ink) = mark(Severity::Warning);
    let words = format!("{name} may be something else: {doubt}");
    page.words(Text::styled(ink, mark).and(PLAIN, " "), 2, PLAIN, &words)
}

/// A time without the part of a second.
fn seconds_of(time: &str) -> String {
    match time.split_once('.') {
        Some((seconds, _)) => format!("{seconds}Z"),
        None => time.to_owned(),
    }
}

/// Whether such an object has a reader, so that both sides can be compared.
fn has_reader(kind: &str) -> bool {
    matches!(kind, "pipe" | "fifo" | "socket" | "pty")
}

/// ` by manager (60), tee (61) and 3 more`: the endpoints that moved bytes, in the given words. Empty if there are
/// none. An endpoint without bytes only tried.
fn by(endpoints: &[Endpoint], most: usize, words: fn(&Endpoint) -> String) -> String {
    let moved = endpoints.iter().filter(|endpoint| endpoint.bytes > 0);
    match list_of(moved.map(words), most, ", ") {
        none if none.is_empty() => none,
        named => format!(" by {named}"),
    }
}

/// The last line of a list that is cut.
fn only_in_json(more: u64, noun: &str) -> String {
    format!("… and {} that are only in the JSON report", count(more, noun))
}

fn name(endpoint: &Endpoint) -> String {
    short_name(&endpoint.comm, endpoint.pid)
}
