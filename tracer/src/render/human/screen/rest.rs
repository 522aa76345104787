//! The line about all commands whose streams are not shown.

use std::{
    collections::{HashMap, HashSet},
    io, ptr,
};

use tracer_core::{
    report::{Fd, Object, Process, Report},
    text::{
        list,
        units::{count, grouped},
    },
};

use super::{super::has_reader, streams::Blamed};
use crate::render::{
    palette::PLAIN,
    text::{Page, Text},
};

/// What is known of a command's output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// All of it was read, or is in a file.
    Delivered,
    Silent,
    /// It went to /dev/null.
    Discarded,
    /// Errors, unread bytes, or a reader that is out of sight.
    Unknown,
}

/// Writes how the output of the other commands fared.
pub(super) fn write(page: &mut Page<'_>, report: &Report, shown: &[Blamed<'_>]) -> io::Result<()> {
    let objects = super::by_id(report);
    let shown: HashSet<*const Process> =
        shown.iter().map(|blamed| ptr::from_ref(blamed.process)).collect();
    let others =
        report.processes.iter().filter(|process| !shown.contains(&ptr::from_ref(*process)));
    let outcomes: Vec<Outcome> = others
        .filter(|process| is_command(process))
        .map(|other| outcome(other, &objects))
        .collect();
    let kinds = [
        (Outcome::Delivered, "delivered everything"),
        (Outcome::Silent, "wrote nothing to stdout or stderr"),
        (Outcome::Discarded, "wrote to /dev/null"),
        (Outcome::Unknown, "wrote output that may not have arrived"),
    ];
    let mut parts = Vec::new();
    for (kind, what) in kinds {
        let number = outcomes.iter().filter(|outcome| **outcome == kind).count() as u64;
        if number > 0 {
            let who = if parts.is_empty() { count(number, "command") } else { grouped(number) };
            parts.push(format!("{who} {what}"));
        }
    }
    let summed_up: u64 = report.summed_up.iter().map(|sum| sum.processes).sum();
    if summed_up > 0 {
        parts.push(format!("{} more ended and were added up", count(summed_up, "command")));
    }
    if parts.is_empty() {
        return Ok(());
    }
    let words = format!("{} (--all shows them)", list(parts, ", "));
    page.words(Text::default(), 2, PLAIN, &words)
}

/// Whether a process is a command: it executed a program, ran before the trace, or wrote something. A fork of a shell
/// that only starts others is none.
fn is_command(process: &Process) -> bool {
    process.executed || process.attached_late || process.fds.iter().any(|row| row.bytes > 0)
}

fn outcome(process: &Process, objects: &HashMap<&str, &Object>) -> Outcome {
    if process.fds.iter().any(|row| !row.errors.is_empty()) {
        return Outcome::Unknown;
    }
    let mut outcomes = process
        .fds
        .iter()
        .filter(|row| row.bytes > 0)
        .map(|row| of_stream(row, objects.get(row.object.as_str()).copied()));
    let Some(first) = outcomes.next() else { return Outcome::Silent };
    outcomes.fold(first, |known, next| match (known, next) {
        (Outcome::Unknown, _) | (_, Outcome::Unknown) => Outcome::Unknown,
        (Outcome::Discarded, _) | (_, Outcome::Discarded) => Outcome::Discarded,
        _ => Outcome::Delivered,
    })
}

fn of_stream(row: &Fd, object: Option<&Object>) -> Outcome {
    match (row.kind.as_str(), object) {
        ("null", _) => Outcome::Discarded,
        ("file", Some(file)) if file.now.as_deref() != Some("gone") => Outcome::Delivered,
        ("device", _) => Outcome::Delivered,
        (kind, Some(object)) if has_reader(kind) => {
            let is_sure = object.balanced != Some(false) && object.doubts.is_empty();
            if is_sure && object.unread == Some(0) { Outcome::Delivered } else { Outcome::Unknown }
        }
        _ => Outcome::Unknown,
    }
}
