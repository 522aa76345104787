//! The line about all commands whose streams are not shown.

use std::{
    collections::{HashMap, HashSet},
    io, ptr,
};

use tracer_core::{
    report::{Fd, Object, Process, Report},
    text::units::{count, grouped},
};

use super::{super::has_reader, streams::Blamed};
use crate::render::{
    command::is_command,
    palette::PLAIN,
    text::{Page, Text},
};

/// What is known of a command's output, the worst last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    Silent,
    /// All of it was read, or is in a file.
    Delivered,
    /// It went to /dev/null.
    Discarded,
    /// Its reader ended before it had read everything, which no finding calls a loss: `head`.
    Unwanted,
    /// A socket whose other end is not on this machine, or was not seen.
    OutOfSight,
    /// The path of a file leads nowhere any more.
    Gone,
    /// Errors, or unread bytes.
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
        (Outcome::Unwanted, "wrote more than the next command read"),
        (Outcome::OutOfSight, "wrote to sockets whose other end is out of sight"),
        (Outcome::Gone, "wrote to files that have gone since"),
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
    let words = format!("{} (--all shows them)", parts.join(", "));
    page.words(Text::default(), 2, PLAIN, &words)
}

fn outcome(process: &Process, objects: &HashMap<&str, &Object>) -> Outcome {
    let used = process.fds.iter().filter(|row| row.bytes > 0 || !row.errors.is_empty());
    let outcomes = used.map(|row| of_stream(row, objects.get(row.object.as_str()).copied()));
    outcomes.max().unwrap_or(Outcome::Silent)
}

fn of_stream(row: &Fd, object: Option<&Object>) -> Outcome {
    if !row.errors.is_empty() {
        // A reader that ended too early is a finding of its own.
        let is_unwanted = row.errors.keys().all(|name| name == "EPIPE");
        return if is_unwanted { Outcome::Unwanted } else { Outcome::Unknown };
    }
    match (row.kind.as_str(), object) {
        ("null", _) => Outcome::Discarded,
        ("file", Some(file)) if file.now.as_deref() == Some("gone") && file.renamed.is_none() => {
            Outcome::Gone
        }
        ("file" | "device", _) => Outcome::Delivered,
        ("socket", Some(socket)) if socket.unread.is_none() => Outcome::OutOfSight,
        ("handed_in", _) => Outcome::OutOfSight,
        (kind, Some(object)) if has_reader(kind) => {
            let is_sure = object.balanced != Some(false) && object.doubts.is_empty();
            if is_sure && object.unread == Some(0) { Outcome::Delivered } else { Outcome::Unknown }
        }
        _ => Outcome::Unknown,
    }
}
