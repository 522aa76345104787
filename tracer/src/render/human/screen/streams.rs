//! The streams that matter: those of processes with findings.

use std::{collections::HashMap, io, iter::successors};

use anstyle::Style as Ink;
use tracer_core::{
    report::{Fd, Object, Process, Report},
    text::{
        name as short_path,
        units::{bytes, count},
    },
    verdict::{Finding, Severity},
};

use super::{
    super::{by, has_reader, name, processes, selection::is_used},
    blocks::{Block, Section, block},
};
use crate::render::{
    Style, View,
    command::{short_command, stream_name},
    palette::{BAD, ODD, PLAIN, STRONG},
    text::{Page, Text},
};

/// How many parents of a process are looked at.
const GENERATIONS: usize = 64;
/// How many readers are named.
const MOST_READERS: usize = 2;

/// A process whose streams are shown.
pub(super) struct Blamed<'a> {
    pub(super) process: &'a Process,
    /// The findings of loss and warnings about it.
    findings: Vec<&'a Finding>,
}

/// The processes of the first finding and of all losses and warnings, in the order of the findings; with a filter, all
/// that it left.
pub(super) fn blamed<'a>(
    report: &'a Report,
    lead: super::Lead<'_>,
    view: &View,
) -> Vec<Blamed<'a>> {
    let mut order = Vec::new();
    let mut about: HashMap<u32, Vec<&Finding>> = HashMap::new();
    for (index, finding) in report.findings.iter().enumerate() {
        let is_bad = finding.severity != Severity::Info;
        let is_first = index == 0 && lead.finding == Some(finding);
        if !(is_bad || is_first) {
            continue;
        }
        let known = about.entry(finding.pid).or_insert_with(|| {
            order.push(finding.pid);
            Vec::new()
        });
        known.extend(is_bad.then_some(finding));
    }
    let mut of_pid: HashMap<u32, Vec<&Process>> = HashMap::new();
    for process in &report.processes {
        of_pid.entry(process.pid).or_default().push(process);
        if view.is_filter() && !about.contains_key(&process.pid) {
            order.push(process.pid);
        }
    }
    let mut blamed = Vec::new();
    for pid in order {
        let findings = about.get(&pid).cloned().unwrap_or_default();
        // Removed, so that two processes with one pid are shown once.
        let processes = of_pid.remove(&pid).unwrap_or_default();
        blamed.extend(
            processes.into_iter().map(|process| Blamed { process, findings: findings.clone() }),
        );
    }
    blamed
}

/// What the lines look up.
struct Known<'a> {
    objects: HashMap<&'a str, &'a Object>,
    /// The parent of each of the target's processes.
    parents: HashMap<u32, u32>,
}

impl Known<'_> {
    /// Bytes that processes which this one has started wrote to an object, and their number.
    fn written_below(&self, process: &Process, object: &Object) -> (u64, u64) {
        let writers = object.writers.iter().filter(|writer| writer.bytes > 0);
        let below = writers.filter(|writer| self.is_below(writer.pid, process.pid));
        below.fold((0, 0), |(bytes, number), writer| {
            (bytes.saturating_add(writer.bytes), number + 1)
        })
    }

    /// Whether one process has started another one, or started the one that did, and so on.
    fn is_below(&self, pid: u32, above: u32) -> bool {
        let parent = |pid: &u32| self.parents.get(pid).copied();
        let line = successors(parent(&pid), parent).take(GENERATIONS);
        pid != above && line.into_iter().any(|parent| parent == above)
    }
}

/// A block for each of these processes.
pub(super) fn section(
    report: &Report,
    blamed: &[Blamed<'_>],
    style: &Style,
) -> io::Result<Section> {
    let known = Known {
        objects: super::by_id(report),
        parents: report.processes.iter().map(|process| (process.pid, process.ppid)).collect(),
    };
    let blocks: io::Result<Vec<Block>> =
        blamed.iter().map(|one| block(style, |page| write(page, one, &known))).collect();
    Ok(Section::of("command", 2, 4, blocks?))
}

fn write(page: &mut Page<'_>, blamed: &Blamed<'_>, known: &Known<'_>) -> io::Result<()> {
    let process = blamed.process;
    let circumstances = processes::circumstances(process);
    let room = page.width().saturating_sub(circumstances.width());
    let command =
        short_command(&process.argv, &process.comm, room.max(processes::SHORTEST_COMMAND));
    page.line(&Text::styled(STRONG, &command).then(circumstances))?;
    for Line { label, words, ink } in lines(blamed, known) {
        let lead = Text::plain(&format!("  {label:<6}  "));
        let column = lead.width();
        page.words(lead, column, ink, &words)?;
    }
    Ok(())
}

/// One stream.
struct Line {
    label: String,
    words: String,
    ink: Ink,
}

fn lines(blamed: &Blamed<'_>, known: &Known<'_>) -> Vec<Line> {
    let process = blamed.process;
    let mut rows: Vec<&Fd> = process.fds.iter().filter(|row| is_used(row)).collect();
    rows.sort_by_key(|row| row.fd);
    let mut lines: Vec<(i32, Line)> =
        rows.iter().map(|row| (row.fd, own(process, row, known))).collect();
    for (fd, index) in [(1, 1), (2, 2)] {
        let object = process.stdio.get::<usize>(index).filter(|object| !object.is_empty());
        let Some(object) = object.filter(|object| rows.iter().all(|row| row.object != **object))
        else {
            continue;
        };
        let line = unused(blamed, fd, object, known);
        lines.extend(line.map(|line| (fd, line)));
    }
    lines.sort_by_key(|(fd, _)| *fd);
    lines.into_iter().map(|(_, line)| line).collect()
}

/// `189 B → pipe:[88123], read by manager (60); 65,536 B unread; EPIPE ×2`
fn own(process: &Process, row: &Fd, known: &Known<'_>) -> Line {
    let object = known.objects.get(row.object.as_str()).copied();
    let target = if row.object.is_empty() { &row.kind } else { &row.object };
    let amount = if row.bytes == 0 { "nothing".to_owned() } else { bytes(row.bytes) };
    let (others, number) = object.map_or((0, 0), |object| known.written_below(process, object));
    let more = match others {
        0 => String::new(),
        others => format!(" and {} by {} below it", bytes(others), count(number, "process")),
    };
    let mut words = format!("{amount}{more} → {}", short_path(target));
    words.push_str(&fate(row.bytes > 0, &row.kind, object));
    for (class, times) in &row.errors {
        words.push_str(&format!("; {class} ×{times}"));
    }
    if row.refused_bytes > 0 {
        words.push_str(&format!("; {} refused", bytes(row.refused_bytes)));
    }
    let is_bad = !row.errors.is_empty();
    let ink = if is_bad { BAD } else { ink_of(object) };
    Line { label: stream_name(process, row), words, ink }
}

/// The line of a stream through which the process itself wrote nothing: if others wrote to it for the process, or if a
/// finding is about it.
fn unused(blamed: &Blamed<'_>, fd: i32, id: &str, known: &Known<'_>) -> Option<Line> {
    let label = if fd == 1 { "stdout" } else { "stderr" }.to_owned();
    let object = known.objects.get(id).copied();
    // Others may write there as well: all of a terminal's commands, and tracer itself.
    let (written, writers) =
        object.map_or((0, 0), |object| known.written_below(blamed.process, object));
    if let Some(object) = object.filter(|_| written > 0) {
        let end = fate(true, &object.kind, Some(object));
        let by = count(writers, "process");
        let words = format!("{} by {by} → {}{end}", bytes(written), short_path(id));
        return Some(Line { label, words, ink: ink_of(Some(object)) });
    }
    let is_about = |finding: &&Finding| finding.fd.is_none_or(|about| about == fd);
    let is_evidence = blamed.findings.iter().any(is_about);
    let words = format!("nothing → {}", short_path(id));
    is_evidence.then_some(Line { label, words, ink: PLAIN })
}

/// What became of the bytes, as the end of a line.
fn fate(has_bytes: bool, kind: &str, object: Option<&Object>) -> String {
    if kind == "null" {
        return if has_bytes { ", which discards them".to_owned() } else { String::new() };
    }
    let Some(object) = object else { return String::new() };
    let mut words = match (&object.renamed, object.now.as_deref()) {
        (Some(renamed), _) => format!(" (now {})", short_path(renamed)),
        (None, Some("gone")) => " (removed since)".to_owned(),
        (None, Some("replaced")) => " (replaced since)".to_owned(),
        _ => String::new(),
    };
    if !has_reader(&object.kind) {
        return words;
    }
    match by(&object.readers, MOST_READERS, name) {
        none if none.is_empty() => {
            // The reader at the other end of a socket or a terminal may be on another machine.
            let is_pipe = matches!(object.kind.as_str(), "pipe" | "fifo");
            words.push_str(if is_pipe && has_bytes { ", read by nobody" } else { "" });
        }
        readers => words.push_str(&format!(", read{readers}")),
    }
    if let Some(unread) = object.unread.filter(|unread| *unread > 0) {
        words.push_str(&format!("; {} unread", bytes(unread)));
    }
    if object.balanced == Some(false) {
        words.push_str("; counts incomplete");
    }
    words
}

fn ink_of(object: Option<&Object>) -> Ink {
    let is_odd = object.is_some_and(|object| {
        object.balanced == Some(false) || object.unread.is_some_and(|unread| unread > 0)
    });
    if is_odd { ODD } else { PLAIN }
}
