//! The numbers, in tables that are folded.

use std::borrow::Cow;

use maud::{Markup, html};
use tracer_core::{
    report::{
        Captured, Command, CommandStream, Endpoint, Fd, Object, Process, Recovered, Report,
        StreamSegment,
    },
    session::{LossReason, inside},
    text::{
        escape, list, list_of, name, shorten,
        units::{bytes, count, exact, grouped, offset},
    },
    verdict::{Confidence, Outcome},
};

use crate::render::{
    command::{LONGEST_COMMAND, short_command, short_name, stream_name},
    exit,
    history::{more_tails, tail_head},
    human,
};

/// The most rows of a table.
const MOST_ROWS: usize = 400;
/// The most outputs that are quoted.
const MOST_QUOTED: usize = 20;
/// The most endpoints of an object that are named.
const MOST_NAMED: usize = 3;

/// A cell: its class and its text, which is escaped already or has nothing to escape.
type Cell = (&'static str, String);

fn number(text: String) -> Cell {
    ("n", text)
}

fn named(text: &str) -> Cell {
    ("name", shorten(text, LONGEST_COMMAND))
}

fn words(text: impl Into<String>) -> Cell {
    ("words", text.into())
}

/// A number that is left out if it is 0.
fn some(number: u64) -> Cell {
    ("n", if number == 0 { String::new() } else { exact(number) })
}

fn time(at_ms: Option<f64>) -> Cell {
    number(at_ms.map_or_else(String::new, offset))
}

/// All tables.
pub(super) fn all(report: &Report) -> Markup {
    html! {
        section {
            h2 { "Numbers" }
            @if let Some(captured) = &report.capture { (quoted(captured)) }
            (tails(report))
            (commands(report))
            (table("Processes", "process", &PROCESS, report.processes.iter().map(process), 0))
            (streams(report))
            (table("Pipes, files and sockets", "object", &OBJECT, report.objects.iter().map(object), 0))
            (claims(report))
            (sandboxes(report))
            (losses(report))
        }
    }
}

/// A folded table. `beyond`: how many rows the report itself leaves out.
fn table(
    title: &str,
    noun: &str,
    heads: &[&str],
    rows: impl Iterator<Item = Vec<Cell>>,
    beyond: u64,
) -> Markup {
    let mut rows = rows;
    let shown: Vec<Vec<Cell>> = rows.by_ref().take(MOST_ROWS).collect();
    let more = (rows.count() as u64).saturating_add(beyond);
    let all = more.saturating_add(shown.len() as u64);
    html! {
        @if !shown.is_empty() {
            details {
                summary { (title) " (" (grouped(all)) ")" }
                div.table {
                    table {
                        thead {
                            tr {
                                @for (head, (class, _)) in heads.iter().zip(&shown[0]) {
                                    th class=(class) { (head) }
                                }
                            }
                        }
                        tbody {
                            @for row in &shown {
                                tr { @for (class, text) in row { td class=(class) { (text) } } }
                            }
                        }
                    }
                }
                @if more > 0 { p.note { "… and " (count(more, noun)) " more, which the JSON report has" } }
            }
        }
    }
}

/// The commands with their streams: a row for each segment.
fn commands(report: &Report) -> Markup {
    let heads = [
        "command", "pid", "end", "stream", "fd", "since", "to", "wrote", "below it", "refused",
        "outcome", "read by",
    ];
    let rows = report.commands.iter().flat_map(|command| {
        let segments = command
            .streams
            .iter()
            .flat_map(|stream| stream.segments.iter().map(move |segment| (stream, segment)));
        segments.map(move |(stream, segment)| segment_row(command, stream, segment))
    });
    let beyond = report.more_commands;
    table("Commands and their streams", "stream", &heads, rows, beyond)
}

fn segment_row(command: &Command, stream: &CommandStream, segment: &StreamSegment) -> Vec<Cell> {
    let is_bad = matches!(
        segment.outcome,
        Outcome::Blocked
            | Outcome::Removed
            | Outcome::Overwritten
            | Outcome::Cut
            | Outcome::Unread
            | Outcome::Refused
    );
    let outcome = segment.outcome.to_string().replace('_', " ");
    let outcome = match segment.confidence {
        Confidence::Certain => outcome,
        unsure => format!("{outcome} ({unsure})"),
    };
    let readers = segment.read_by.iter().map(u32::to_string);
    vec![
        named(&command.command),
        number(command.pid.to_string()),
        words(exit::words(command.exit).0),
        words(stream.stream.as_str()),
        number(segment.fd.to_string()),
        time(segment.since_ms),
        named(&segment.object),
        some(segment.bytes),
        some(segment.started_bytes),
        some(segment.refused_bytes),
        (if is_bad { "odd" } else { "words" }, outcome),
        words(list(readers, ", ")),
    ]
}

const PROCESS: [&str; 8] =
    ["command", "pid", "parent", "started", "ended", "end", "through other fds", "environment"];

fn process(process: &Process) -> Vec<Cell> {
    let variables = process.environment.as_ref();
    let variables = variables
        .map(|all| list_of(all.iter().map(|(name, value)| format!("{name}={value}")), 3, " "));
    vec![
        ("name", short_command(&process.argv, &process.comm, usize::MAX)),
        number(pid(process)),
        number(process.ppid.to_string()),
        time(Some(process.start_ms)),
        time(process.end_ms),
        words(exit::words(process.exit).0),
        some(process.elsewhere.bytes.unwrap_or(0)),
        ("", variables.unwrap_or_default()),
    ]
}

fn pid(process: &Process) -> String {
    let pid = format!("{}{}", process.pid, inside(process.sandbox));
    match process.ns_pid {
        same if same == process.pid => pid,
        other => format!("{pid} ({other} in its namespace)"),
    }
}

/// A row for each fd and object.
fn streams(report: &Report) -> Markup {
    let heads =
        ["process", "stream", "to", "bytes", "writes", "first", "last", "failed", "refused", "by"];
    let rows = report
        .processes
        .iter()
        .flat_map(|process| process.fds.iter().map(move |row| fd_row(process, row)));
    table("Writes by fd", "fd", &heads, rows, 0)
}

fn fd_row(process: &Process, row: &Fd) -> Vec<Cell> {
    let errors = row.errors.iter().map(|(class, times)| format!("{class} ×{times}"));
    vec![
        words(short_name(&process.comm, process.pid)),
        words(stream_name(process, row)),
        named(if row.object.is_empty() { &row.kind } else { &row.object }),
        number(exact(row.bytes)),
        number(grouped(row.writes)),
        time(row.first_write_ms),
        time(row.last_write_ms),
        ("odd", list(errors, ", ")),
        some(row.refused_bytes),
        ("", list(row.ways.iter(), ", ")),
    ]
}

const OBJECT: [&str; 10] = [
    "name",
    "kind",
    "path",
    "written",
    "read",
    "unread",
    "capacity",
    "written by",
    "read by",
    "unsure",
];

fn object(object: &Object) -> Vec<Cell> {
    let unread = object.unread.unwrap_or(0);
    let doubts = list(object.doubts.iter().map(LossReason::name), ", ");
    vec![
        named(&object.id),
        words(escape(&object.kind)),
        named(if object.path == object.id { "" } else { &object.path }),
        number(exact(object.written)),
        number(exact(object.read)),
        (if unread > 0 { "n odd" } else { "n" }, some(unread).1),
        some(object.capacity.unwrap_or(0)),
        ("", endpoints(&object.writers)),
        ("", endpoints(&object.readers)),
        ("odd", doubts),
    ]
}

fn endpoints(all: &[Endpoint]) -> String {
    let moved = all.iter().filter(|endpoint| endpoint.bytes > 0);
    let words = moved.map(|one| format!("{} {}", short_name(&one.comm, one.pid), exact(one.bytes)));
    list_of(words, MOST_NAMED, ", ")
}

/// What managers returned according to their logs.
fn claims(report: &Report) -> Markup {
    let heads = ["pid", "in its namespace", "stream", "written", "read", "handed out, by the log"];
    let rows = report.claims.iter().map(|claim| {
        vec![
            number(claim.pid.to_string()),
            number(claim.ns_pid.to_string()),
            words(escape(&claim.stream)),
            number(exact(claim.written)),
            number(exact(claim.read)),
            number(claim.handed_out.map_or_else(|| "no line".to_owned(), exact)),
        ]
    });
    table("What the manager's log says", "claim", &heads, rows, 0)
}

/// The gVisor sandboxes that tracer looked into.
fn sandboxes(report: &Report) -> Markup {
    let rows = report.sandboxes.iter().map(|sandbox| {
        let late = if sandbox.looked_late { "earlier calls are not counted" } else { "" };
        vec![
            number(sandbox.number.to_string()),
            named(&sandbox.container),
            number(sandbox.pid.to_string()),
            words(late),
        ]
    });
    table("Sandboxes", "sandbox", &["number", "container", "pid of gVisor", ""], rows, 0)
}

/// What tracer itself could not record.
fn losses(report: &Report) -> Markup {
    let hit = report.losses.iter().filter(|(_, events)| **events > 0);
    let rows = hit.map(|(reason, events)| {
        let size = report.lost_bytes.get(reason).copied().unwrap_or(0);
        vec![
            words(escape(reason.name())),
            ("", name(human::loss_sentence(reason))),
            number(grouped(*events)),
            some(size),
        ]
    });
    let is_complete = report.losses.values().all(|events| *events == 0);
    html! {
        (table("What tracer could not record", "reason", &["reason", "", "times", "bytes"], rows, 0))
        @if is_complete { p.note { "tracer missed nothing: all counts are complete." } }
    }
}

/// Captured output that did not arrive.
fn quoted(captured: &Captured) -> Markup {
    let more =
        (captured.recovered.len().saturating_sub(MOST_QUOTED) as u64).saturating_add(captured.more);
    html! {
        @if !captured.recovered.is_empty() {
            details open {
                summary { "Captured output that did not arrive" }
                @for recovered in captured.recovered.iter().take(MOST_QUOTED) { (quote(recovered)) }
                @if more > 0 { p.note { "… and " (count(more, "output")) " more in " (name(&captured.directory)) } }
            }
        }
    }
}

/// The ends of streams that lost output, from a history.
fn tails(report: &Report) -> Markup {
    html! {
        @if !report.tails.is_empty() {
            details open {
                summary { "The ends of streams that lost output" }
                @for tail in &report.tails {
                    p { (tail_head(tail)) }
                    pre { (tail.text.lines().map(escape).collect::<Vec<_>>().join("\n")) }
                }
                @if let Some(more) = more_tails(report) { p.note { (more) } }
            }
        }
    }
}

fn quote(recovered: &Recovered) -> Markup {
    let by = recovered.comms.iter().zip(&recovered.pids).map(|(comm, pid)| short_name(comm, *pid));
    let text: Vec<Cow<'_, str>> = recovered.text.lines().map(escape).collect();
    html! {
        p {
            (bytes(recovered.bytes)) " in " (name(&recovered.object)) ", written by " (list(by, ", "))
            @if !recovered.exact { " (not certain)" }
            @if recovered.missing > 0 { "; " (bytes(recovered.missing)) " are not in the capture" }
            @if recovered.text_cut > 0 { "; the first " (bytes(recovered.text_cut)) " are not shown" }
        }
        pre { (text.join("\n")) }
    }
}
