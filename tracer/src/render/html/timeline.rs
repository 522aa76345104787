//! A time line (SVG): how long each command lived, when it wrote, and when read ends were closed.

use std::{cmp::Reverse, collections::HashMap};

use maud::{Markup, html};
use serde_json::Value;
use tracer_core::{
    report::{Command, Fd, Process, Report},
    text::{
        shorten,
        units::{count, duration, exact, offset},
    },
    verdict::Severity,
};

use super::{Mark, class};
use crate::render::command::{LONGEST_COMMAND, is_command, short_command, stream_name, wrote_as};

/// The most rows.
const MOST_ROWS: usize = 36;
/// The most streams of a row.
const MOST_STREAMS: usize = 8;
/// The most rows of processes that wrote nothing.
const MOST_SILENT: usize = 8;
/// Columns of the name of a row.
const NAME: usize = 38;

/// Sizes in pixels: the whole drawing, where the time begins and ends, and one row.
const WIDTH: f64 = 1200.0;
const BEGIN: f64 = 268.0;
const END: f64 = 1096.0;
const ROW: f64 = 19.0;
const TOP: f64 = 24.0;
/// The least width of a bar: what took no time can still be seen.
const LEAST: f64 = 3.0;

/// One process.
struct Row<'a> {
    process: &'a Process,
    /// Its command line when it wrote, escaped.
    name: String,
    mark: Mark,
    /// Bytes that it wrote.
    bytes: u64,
    /// When it closed read ends, in ms, and of what.
    closes: Vec<(f64, &'a str)>,
}

/// The time line with its legend.
pub(super) fn section(report: &Report) -> Markup {
    let (rows, more) = rows(report);
    let span = span(report, &rows);
    let height = TOP + rows.len() as f64 * ROW + 6.0;
    html! {
        @if !rows.is_empty() {
            section {
                h2 { "When" }
                div.scroll {
                    svg.time role="img" aria-label="When commands ran and wrote" viewBox={ "0 0 " (WIDTH) " " (height) }
                        width=(WIDTH) height=(height) {
                        (grid(span, height))
                        @for (index, row) in rows.iter().enumerate() {
                            (draw(row, TOP + index as f64 * ROW, span))
                        }
                    }
                }
                p.note {
                    span.key.life {} "ran" span.key.stdout {} "first to last write to stdout"
                    span.key.stderr {} "… to stderr" span.key.other {} "… through another fd"
                    span.key.close {} "closed the read end before all was read. "
                    @if more > 0 { "… and " (count(more, "command")) " without a row." }
                }
            }
        }
    }
}

/// The rows in order of their start, and how many commands have none.
fn rows(report: &Report) -> (Vec<Row<'_>>, u64) {
    let mut known = known(report);
    let commands = report.processes.iter().filter(|process| is_command(process));
    let mut rows: Vec<Row<'_>> = commands
        .map(|process| {
            let Known { mark, closes } = known.remove(&process.pid).unwrap_or_default();
            let bytes = process.fds.iter().fold(0, |sum: u64, row| sum.saturating_add(row.bytes));
            Row { process, name: String::new(), mark, bytes, closes }
        })
        .collect();
    rows.sort_by_key(|row| Reverse((row.mark, !row.closes.is_empty(), row.bytes)));
    let all = rows.len();
    let is_loud = |row: &&Row<'_>| row.mark > Mark::Fine || !row.closes.is_empty() || row.bytes > 0;
    let loud = rows.iter().take_while(is_loud).count();
    rows.truncate(MOST_ROWS.min(loud.saturating_add(MOST_SILENT)));
    let more = all.saturating_sub(rows.len()) as u64;
    rows.sort_by(|one, other| one.process.start_ms.total_cmp(&other.process.start_ms));
    name(&mut rows, &report.commands);
    (rows, more)
}

/// Names the rows by what they were called when they wrote.
fn name(rows: &mut [Row<'_>], commands: &[Command]) {
    let commands: HashMap<u32, &Command> =
        commands.iter().map(|command| (command.pid, command)).collect();
    for row in rows {
        let command = commands.get(&row.process.pid).copied();
        row.name = match command.and_then(wrote_as) {
            Some(earlier) => shorten(earlier, LONGEST_COMMAND),
            None => short_command(&row.process.argv, &row.process.comm, LONGEST_COMMAND),
        };
    }
}

/// What the findings say about a process.
#[derive(Default)]
struct Known<'a> {
    mark: Mark,
    closes: Vec<(f64, &'a str)>,
}

fn known(report: &Report) -> HashMap<u32, Known<'_>> {
    let mut known: HashMap<u32, Known<'_>> = HashMap::new();
    for finding in report.findings.iter().filter(|finding| finding.severity != Severity::Info) {
        let mark = if finding.severity == Severity::Loss { Mark::Bad } else { Mark::Odd };
        let process = known.entry(finding.pid).or_default();
        process.mark = mark.max(process.mark);
        let fact = |name: &str| finding.evidence.get(name);
        let closer = fact("closer_pid").and_then(Value::as_u64);
        let closer = closer.and_then(|pid| u32::try_from(pid).ok());
        let at_ms = fact("closed_ms").and_then(Value::as_f64);
        let object = fact("object").and_then(Value::as_str).unwrap_or_default();
        if let (Some(closer), Some(at_ms)) = (closer, at_ms) {
            known.entry(closer).or_default().closes.push((at_ms, object));
        }
    }
    known
}

/// The part of the trace in which the rows did something, in ms.
fn span(report: &Report, rows: &[Row<'_>]) -> (f64, f64) {
    let window = (report.window.seconds * 1e3).clamp(1.0, 1e15);
    let end = |row: &Row<'_>| row.process.end_ms.unwrap_or(window);
    let begin =
        rows.iter().map(|row| row.process.start_ms).fold(window, f64::min).clamp(0.0, window);
    let end = rows.iter().map(end).fold(0.0, f64::max).clamp(0.0, window);
    if end - begin < 0.01 { (0.0, window) } else { (begin, end) }
}

fn x(at_ms: f64, (begin, end): (f64, f64)) -> f64 {
    let part = ((at_ms - begin) / (end - begin)).clamp(0.0, 1.0);
    BEGIN + (END - BEGIN) * part
}

/// Lines at round times, five to twelve of them.
fn grid(span: (f64, f64), height: f64) -> Markup {
    let (begin, end) = span;
    let power = 10_f64.powf(((end - begin) / 10.0).log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power);
    let step = steps.into_iter().find(|step| (end - begin) / step <= 9.0).unwrap_or(end - begin);
    let first = (begin / step).ceil();
    let times = (0..12_u32).map(|number| (first + f64::from(number)) * step);
    html! {
        @for at_ms in times.take_while(|at_ms| *at_ms <= end) {
            @let x = px(x(at_ms, span));
            line.grid x1=(x) x2=(x) y1=(px(TOP - 6.0)) y2=(px(height)) {}
            text.tick x=(x) y="12" { (offset(at_ms)) }
        }
    }
}

fn draw(row: &Row<'_>, top: f64, span: (f64, f64)) -> Markup {
    let Row { process, name, mark, bytes, closes } = row;
    let middle = top + ROW / 2.0;
    let (start, end) = (x(process.start_ms, span), x(process.end_ms.unwrap_or(f64::MAX), span));
    let streams: Vec<&Fd> =
        process.fds.iter().filter(|fd| fd.first_write_ms.is_some()).take(MOST_STREAMS).collect();
    let thick = (9.0 / streams.len().max(1) as f64).max(1.5);
    html! {
        text class={ "who " (class(*mark)) } x="0" y=(px(middle + 3.5)) {
            title { (name) " · pid " (process.pid) }
            (shorten(name, NAME))
        }
        rect.life x=(px(start)) y=(px(middle - 2.0)) width=(px((end - start).max(LEAST))) height="4" {
            title { (life(process)) }
        }
        @if process.end_ms.is_some() {
            line.end x1=(px(end)) x2=(px(end)) y1=(px(middle - 4.0)) y2=(px(middle + 4.0)) {}
        }
        @for (number, fd) in streams.iter().enumerate() {
            (stream(process, fd, middle - 4.5 + number as f64 * thick, thick, span))
        }
        @for (at_ms, object) in closes.iter().take(MOST_STREAMS) {
            @let x = px(x(*at_ms, span));
            line.close x1=(x) x2=(x) y1=(px(middle - 7.0)) y2=(px(middle + 7.0)) {
                title { "closed the read end of " (tracer_core::text::name(object)) " at " (offset(*at_ms)) }
            }
        }
        @if *bytes > 0 {
            text.size x=(px(END + 8.0)) y=(px(middle + 3.5)) { (exact(*bytes)) }
        }
    }
}

fn stream(process: &Process, fd: &Fd, top: f64, thick: f64, span: (f64, f64)) -> Markup {
    let first = fd.first_write_ms.unwrap_or_default();
    let last = fd.last_write_ms.unwrap_or(first);
    let (from, to) = (x(first, span), x(last, span));
    let name = stream_name(process, fd);
    let kind = match name.as_str() {
        "stdout" => "stdout",
        "stderr" => "stderr",
        _ => "other",
    };
    let writes = count(fd.writes, "write");
    html! {
        rect class=(kind) x=(px(from)) y=(px(top)) width=(px((to - from).max(LEAST))) height=(px(thick)) {
            title {
                (name) ": " (exact(fd.bytes)) " in " (writes) " to " (tracer_core::text::name(&fd.object))
                ", first " (offset(first)) ", last " (offset(last))
            }
        }
    }
}

fn life(process: &Process) -> String {
    let start = offset(process.start_ms);
    match process.end_ms {
        Some(end_ms) => {
            format!(
                "ran from {start} to {}, {}",
                offset(end_ms),
                duration(end_ms - process.start_ms)
            )
        }
        None => format!("runs since {start}"),
    }
}

fn px(length: f64) -> String {
    format!("{length:.1}")
}
