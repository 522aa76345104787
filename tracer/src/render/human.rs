//! The report for a person: what happened, what to do, and then the numbers behind it.

mod captured;
mod fds;
mod losses;
mod objects;
mod paths;
mod processes;
mod recovered;
mod selection;
mod verdict;

use std::{collections::HashMap, io};

use tracer_core::{
    report::{Endpoint, Object, Report},
    text::{
        list_of,
        units::{count, duration},
    },
    verdict::Severity,
};

use self::selection::Selection;
use super::{
    Style,
    command::short_name,
    palette::{FAINT, PLAIN, mark},
    text::{Page, Text},
};

/// Writes the whole text.
pub(super) fn write(report: &Report, style: &Style, out: &mut dyn io::Write) -> io::Result<()> {
    let mut page = Page::new(style, out);
    let selection = Selection::of(report);
    let objects: HashMap<&str, &Object> =
        report.objects.iter().map(|object| (object.id.as_str(), object)).collect();
    verdict::write(&mut page, report)?;
    recovered::write(&mut page, report, &objects)?;
    processes::write(&mut page, &report.summed_up, &selection, &objects)?;
    objects::write(&mut page, report, &selection)?;
    paths::write(&mut page, report)?;
    captured::write(&mut page, report)?;
    losses::write(&mut page, report)?;
    page.section()?;
    let seconds = duration(report.window.seconds * 1e3);
    let words =
        format!("traced {} for {seconds}, from {}", report.target.name, report.window.start);
    page.words(Text::default(), 2, FAINT, &words)?;
    let Some(doubt) = &report.target.doubt else { return Ok(()) };
    let (mark, ink) = mark(Severity::Warning);
    let words = format!("{} may be no container: {doubt}", report.target.name);
    page.words(Text::styled(ink, mark).and(PLAIN, " "), 2, PLAIN, &words)
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
