//! The lines below a process: what went through each of its fds, and to which object.

use std::{collections::HashMap, io};

use anstyle::Style as Ink;
use tracer_core::{
    report::{Fd, Object, Process},
    text::units::{bytes, count, offset},
};

use super::{by, has_reader, name, selection::is_used};
use crate::render::{
    live::fd_name,
    palette::{BAD, FAINT, ODD, PLAIN},
    text::{Page, Text},
};

/// The widest target that moves the times of other lines.
const WIDEST_TARGET: usize = 44;
/// How many readers are named beside a target. The target's own line names more.
const MOST_READERS: usize = 2;

/// One line in columns.
struct Row {
    label: String,
    amount: (Ink, String),
    target: Text,
    /// Times, then errors.
    notes: Vec<Text>,
}

/// Writes the lines of a process.
pub(super) fn write(
    page: &mut Page<'_>,
    indent: usize,
    process: &Process,
    objects: &HashMap<&str, &Object>,
) -> io::Result<()> {
    let rows = rows(process, objects);
    let widest = |width: fn(&Row) -> usize| rows.iter().map(width).max().unwrap_or(0);
    let labels = widest(|row| Text::plain(&row.label).width());
    let amounts = widest(|row| Text::plain(&row.amount.1).width());
    let targets = widest(|row| {
        let width = row.target.width();
        if width > WIDEST_TARGET || row.notes.is_empty() { 0 } else { width }
    });
    for Row { label, amount: (ink, amount), target, notes } in rows {
        let lead = Text::blank(indent).then(Text::plain(&label).padded(labels)).and(PLAIN, "  ");
        let amount = Text::styled(ink, &amount);
        if target.width() == 0 {
            page.line(&lead.then(amount))?;
            continue;
        }
        let lead = lead.then(amount.padded(amounts)).and(PLAIN, "  ");
        let target = if notes.is_empty() { target } else { target.padded(targets) };
        let column = lead.width();
        page.parts(lead, column, "   ", std::iter::once(target).chain(notes))?;
    }
    Ok(())
}

fn rows(process: &Process, objects: &HashMap<&str, &Object>) -> Vec<Row> {
    let mut fds: Vec<&Fd> =
        process.fds.iter().filter(|row| is_used(row) || matches!(row.fd, 1 | 2)).collect();
    fds.sort_by_key(|row| row.fd);
    let silent: Vec<Fd> = [(1, 1), (2, 2)]
        .into_iter()
        .filter(|&(fd, _)| !fds.iter().any(|row| row.fd == fd))
        .filter_map(|(fd, index)| silent_row(fd, process.stdio.get::<usize>(index)?, objects))
        .collect();
    let mut all: Vec<&Fd> = silent.iter().chain(fds).collect();
    all.sort_by_key(|row| row.fd);
    let mut rows: Vec<Row> = all.into_iter().map(|row| row_of(row, objects)).collect();
    rows.extend(elsewhere(process));
    rows
}

/// The row of an fd that was never used.
fn silent_row(fd: i32, object: &str, objects: &HashMap<&str, &Object>) -> Option<Fd> {
    if object.is_empty() {
        return None;
    }
    let kind = objects.get(object).map_or_else(String::new, |object| object.kind.clone());
    Some(Fd { fd, object: object.to_owned(), kind, ..Fd::default() })
}

fn row_of(row: &Fd, objects: &HashMap<&str, &Object>) -> Row {
    let amount = if row.bytes == 0 {
        (PLAIN, "nothing written".to_owned())
    } else {
        (PLAIN, format!("{} in {}", bytes(row.bytes), count(row.writes, "write")))
    };
    let object = objects.get(row.object.as_str()).copied();
    Row {
        label: fd_name(row.fd),
        amount,
        target: target(row, object),
        notes: times(row).into_iter().chain(failures(row)).collect(),
    }
}

/// `→ pipe:[88123] read by manager (60)`
fn target(row: &Fd, object: Option<&Object>) -> Text {
    let target = if row.object.is_empty() { &row.kind } else { &row.object };
    let text = Text::plain("→ ").and(PLAIN, target);
    if row.bytes == 0 {
        return text;
    }
    if row.kind == "null" {
        return text.and(FAINT, " discards it");
    }
    let Some(object) = object.filter(|object| has_reader(&object.kind)) else {
        return text;
    };
    let readers = by(&object.readers, MOST_READERS, name);
    if !readers.is_empty() {
        return text.and(PLAIN, " read").and(PLAIN, &readers);
    }
    match object.kind.as_str() {
        // The reader at the other end of a socket or a terminal may be on another machine.
        "pipe" | "fifo" if object.read == 0 => text.and(ODD, " read by nobody"),
        _ => text,
    }
}

/// `first +12 ms, last +340 ms`
fn times(row: &Fd) -> Option<Text> {
    let (first, last) = (row.first_write_ms?, row.last_write_ms?);
    let (first, last) = (offset(first), offset(last));
    let words =
        if first == last { format!("at {first}") } else { format!("first {first}, last {last}") };
    Some(Text::styled(FAINT, &words))
}

/// `EPIPE ×2`, `EAGAIN ×5, 40,960 B refused`, `short ×1`
fn failures(row: &Fd) -> Vec<Text> {
    let failed = row.errors.iter().map(|(class, times)| {
        let refused = match row.refused_bytes {
            refused if class == "EAGAIN" && refused > 0 => format!(", {} refused", bytes(refused)),
            _ => String::new(),
        };
        let class = match class.as_str() {
            "OTHER" => "other error",
            "NOT_RUN" => "never run",
            named => named,
        };
        Text::styled(BAD, &format!("{class} ×{times}{refused}"))
    });
    let weak = [("short", row.short), ("zero-byte", row.zero)].into_iter();
    let weak = weak
        .filter(|&(_, times)| times > 0)
        .map(|(what, times)| Text::styled(ODD, &format!("{what} ×{times}")));
    failed.chain(weak).collect()
}

/// What went through fds that were not asked for. The output may be there.
fn elsewhere(process: &Process) -> Option<Row> {
    let size = process.elsewhere.bytes.filter(|&size| size > 0)?;
    let amount = match process.elsewhere.writes {
        Some(writes) => format!("{} in {}", bytes(size), count(writes, "write")),
        None => bytes(size),
    };
    Some(Row {
        label: "other fds".to_owned(),
        amount: (FAINT, amount),
        target: Text::default(),
        notes: Vec::new(),
    })
}
