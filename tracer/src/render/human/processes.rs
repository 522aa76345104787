//! The shown processes with their fds, and the names of the others.

use std::{collections::HashMap, io};

use tracer_core::{
    report::{Object, Process, SummedUp},
    session::inside,
    text::units::{bytes, count, duration, grouped},
};

use super::{
    fds,
    selection::{Selection, Shown},
};
use crate::render::{
    command::{short_command, short_name},
    exit,
    palette::{FAINT, PLAIN, STRONG},
    text::{Page, Text},
};

/// Columns of indentation for each level of the tree.
const STEP: usize = 2;
/// How many levels are indented.
const DEEPEST: usize = 6;
/// How many names a line of processes that are not shown has.
const MOST_NAMES: usize = 8;
/// The least columns of a command line.
pub(super) const SHORTEST_COMMAND: usize = 24;

/// Writes all processes.
pub(super) fn write(
    page: &mut Page<'_>,
    summed_up: &[SummedUp],
    selection: &Selection<'_>,
    objects: &HashMap<&str, &Object>,
) -> io::Result<()> {
    let Selection { shown, silent } = selection;
    if shown.is_empty() && silent.is_empty() && summed_up.is_empty() {
        return Ok(());
    }
    page.section()?;
    for one in shown {
        write_process(page, one, objects)?;
    }
    if !silent.is_empty() {
        write_names(page, silent, "that wrote nothing")?;
    }
    if summed_up.is_empty() { Ok(()) } else { write_sums(page, summed_up) }
}

/// `… and 4,211 processes that ended, added up to limit memory: docker (4,000, 3 failed), sh (211)`
fn write_sums(page: &mut Page<'_>, sums: &[SummedUp]) -> io::Result<()> {
    let total: u64 = sums.iter().map(|sums| sums.processes).sum();
    let lead = format!("… and {} that ended, added up to limit memory:", count(total, "process"));
    let name = |sums: &SummedUp| {
        let failed = match sums.failed {
            0 => String::new(),
            failed => format!(", {} failed", grouped(failed)),
        };
        format!(
            "{} ({}{failed}, wrote {})",
            sums.comm,
            grouped(sums.processes),
            bytes(sums.written)
        )
    };
    let mut names: Vec<String> = sums.iter().take(MOST_NAMES).map(name).collect();
    if let Some(unnamed) = sums.len().checked_sub(MOST_NAMES).filter(|unnamed| *unnamed > 0) {
        names.push(format!("and {} more", count(unnamed as u64, "command")));
    }
    let names = names.iter().map(|name| Text::styled(FAINT, name));
    page.parts(Text::styled(FAINT, &lead).and(PLAIN, " "), STEP, " · ", names)
}

fn write_process(
    page: &mut Page<'_>,
    Shown { process, depth }: &Shown<'_>,
    objects: &HashMap<&str, &Object>,
) -> io::Result<()> {
    let indent = STEP * (*depth).min(DEEPEST);
    let circumstances = circumstances(process);
    let room = page.width().saturating_sub(indent + circumstances.width());
    let command = short_command(&process.argv, &process.comm, room.max(SHORTEST_COMMAND));
    let header = Text::blank(indent).and(STRONG, &command).then(circumstances);
    page.line(&header)?;
    fds::write(page, indent + STEP, process, objects)
}

/// `  pid 71 (1 in its namespace) · exit 0 · 1.24 s`
pub(super) fn circumstances(process: &Process) -> Text {
    let mut pid = format!("  pid {}{}", process.pid, inside(process.sandbox));
    if process.ns_pid != process.pid {
        pid.push_str(&format!(" ({} in its namespace)", process.ns_pid));
    }
    let (exit, ink) = exit::words(process.exit);
    let mut text = Text::plain(&pid).and(PLAIN, " · ").and(ink, &exit);
    if let Some(end_ms) = process.end_ms {
        text = text.and(PLAIN, &format!(" · {}", duration(lived(process, end_ms))));
    }
    if process.attached_late {
        text = text.and(PLAIN, " · ").and(FAINT, "started before the trace");
    }
    text
}

/// `… and 2 processes that wrote nothing: sh (71), sh (72)`
fn write_names(page: &mut Page<'_>, processes: &[&Process], what: &str) -> io::Result<()> {
    let how_many = processes.len() as u64;
    let lead = format!("… and {} {what}:", count(how_many, "process"));
    let mut names: Vec<String> = processes
        .iter()
        .take(MOST_NAMES)
        .map(|process| short_name(&process.comm, process.pid))
        .collect();
    let last = names.len().saturating_sub(1);
    names[..last].iter_mut().for_each(|name| name.push(','));
    if let Some(unnamed) = how_many.checked_sub(MOST_NAMES as u64).filter(|&unnamed| unnamed > 0) {
        names.push(format!("and {} more", grouped(unnamed)));
    }
    let names = names.iter().map(|name| Text::styled(FAINT, name));
    page.parts(Text::styled(FAINT, &lead).and(PLAIN, " "), STEP, " ", names)
}

/// How long a process ran, in ms. A command that tracer started waited for the hooks first; that time does not count.
fn lived(process: &Process, end_ms: f64) -> f64 {
    let start_ms = process.start_ms;
    end_ms - if process.attached_late { start_ms } else { start_ms.max(0.0) }
}
