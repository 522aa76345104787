//! What was captured, where it is, and what is missing.

use std::io;

use tracer_core::{
    capture::{Keep, summary::GapSum},
    report::{Captured, CapturedStream, Report},
    text::units::{bytes, count},
};

use crate::render::{
    command::short_name,
    gap::missing,
    live::fd_name,
    palette::{ODD, PLAIN},
    text::{Page, Text},
};

/// The widest name that moves the columns of other lines.
const WIDEST_NAME: usize = 40;
/// How many kinds of gaps are named for one stream.
const MOST_GAPS: usize = 4;

/// Writes the folder and a line for each stream.
pub(super) fn write(page: &mut Page<'_>, report: &Report) -> io::Result<()> {
    let Some(captured) = &report.capture else { return Ok(()) };
    page.section()?;
    page.words(Text::default(), 2, PLAIN, &head(captured))?;
    let names = captured.streams.iter().map(|stream| title(stream).width());
    let names = names.filter(|&width| width <= WIDEST_NAME).max().unwrap_or(0);
    captured.streams.iter().try_for_each(|stream| write_stream(page, stream, names))
}

/// Writes what one screen has room for: the folder, and the streams of which something is missing.
pub(super) fn write_in_short(page: &mut Page<'_>, report: &Report) -> io::Result<()> {
    let Some(captured) = &report.capture else { return Ok(()) };
    let complete = captured.streams.iter().filter(|stream| is_complete(stream)).count() as u64;
    let names = match complete {
        0 => String::new(),
        _ => format!(" {} complete;", count(complete, "stream")),
    };
    let head = head(captured);
    let all = if captured.streams.is_empty() { "" } else { " --all lists them" };
    page.words(Text::default(), 2, PLAIN, &format!("{head}{names}{all}"))?;
    let mut cut = captured.streams.iter().filter(|stream| !is_complete(stream));
    cut.try_for_each(|stream| write_stream(page, stream, 0))
}

fn is_complete(stream: &CapturedStream) -> bool {
    stream.missing == 0 && stream.cut == 0
}

fn write_stream(page: &mut Page<'_>, stream: &CapturedStream, names: usize) -> io::Result<()> {
    let lead = title(stream).padded(names).and(PLAIN, "  ");
    let column = lead.width();
    page.parts(lead, column, " · ", account(stream))
}

/// `captured in out/, the first 67,108,864 B (64.0 MiB) of each stream:`
fn head(captured: &Captured) -> String {
    let Captured { directory, limit, keep, streams, .. } = captured;
    let end = if streams.is_empty() { "; nothing was written" } else { ":" };
    match limit {
        None => format!("captured in {directory}, all of each stream{end}"),
        Some(limit) => {
            let which = match keep {
                Keep::First => "first",
                Keep::Last => "last",
            };
            format!("captured in {directory}, the {which} {} of each stream{end}", bytes(*limit))
        }
    }
}

fn title(stream: &CapturedStream) -> Text {
    let name = short_name(&stream.comm, stream.pid);
    Text::plain(&format!("  {name} {}", fd_name(stream.fd)))
}

/// `122 B in docker-71.stderr`, `55 B missing: the ring was full`
fn account(stream: &CapturedStream) -> Vec<Text> {
    let size = match stream.kept == stream.written {
        true => bytes(stream.kept),
        false => format!("{} of {}", bytes(stream.kept), bytes(stream.written)),
    };
    let mut counts = vec![Text::plain(&format!("{size} in {}", stream.file))];
    if stream.cut > 0 {
        let words = format!("{} cut from its front", bytes(stream.cut));
        counts.push(Text::styled(ODD, &words));
    }
    let gaps = stream.gaps.iter().take(MOST_GAPS);
    counts.extend(gaps.map(|gap| Text::styled(ODD, &gap_words(gap))));
    let more = stream.gaps.len().saturating_sub(MOST_GAPS);
    if more > 0 {
        counts.push(Text::styled(ODD, &format!("{more} more kinds of gaps")));
    }
    counts
}

fn gap_words(gap: &GapSum) -> String {
    let words = missing(gap.bytes, gap.reason, gap.source.as_deref());
    match gap.times {
        0 | 1 => words,
        times => format!("{words} ({})", count(times, "gap")),
    }
}
