//! The command and its descendants wrote no byte to stdout or stderr, and did not try to.

use std::collections::BTreeSet;

use serde_json::json;
use tracer_common::{
    id::ProcessId,
    ledger::{READ, WRITE},
    object::ObjectId,
};

use super::super::{Case, Stream, Subject, evidence, words};
use crate::{
    event::BlockedCall,
    session::{Holding, Kind, Process},
    text::{self, list, units},
    verdict::{Confidence, Finding, Rule, Severity},
};

pub(super) fn find(case: &Case<'_>, subject: &Subject<'_>) -> Vec<Finding> {
    if subject.attempts() > 0 || !subject.redirected.is_empty() || subject.discards_output() {
        return Vec::new();
    }
    let who = words::who(subject);
    let running = subject.process.end_ns.is_none();
    let waits = unread_pipe(case, subject).or_else(|| waits(case, subject));
    let why = waits.as_deref().unwrap_or_default();
    let closed = closed_in_words(case, subject);
    let message = match (case.confidence(subject), running) {
        (Confidence::Certain, false) => format!(
            "{who} never wrote to {}{}{}{}{}{}.{}",
            streams(case, subject),
            closed.as_deref().unwrap_or_default(),
            beside_in_words(case, subject),
            elsewhere_in_words(elsewhere(case, subject), to_ended(case, subject)),
            silenced_in_words(subject.silenced),
            last_of_pipeline(case, subject).unwrap_or_default(),
            words::ending(subject)
        ),
        (Confidence::Certain, true) => {
            format!("{who} has written nothing so far{why}. Still running.")
        }
        (Confidence::Unsure, _) if subject.process.attached_late => format!(
            "{who} has written nothing to stdout or stderr since tracer attached{why}; earlier output is not known.{}",
            words::ending(subject)
        ),
        (Confidence::Unsure, _) => format!(
            "{who} wrote nothing to stdout or stderr that tracer saw, but the trace is incomplete.{}",
            words::ending(subject)
        ),
    };
    let mut finding =
        evidence::finding(case, subject, Rule::NeverWrote, Severity::Warning, message);
    finding.advice = Some(match closed {
        Some(_) => {
            let hint = "Start it with an open stdout: look for `>&-` and `close`.";
            format!("{hint} {}", where_to(case, subject))
        }
        None => advice(case, subject, waits.is_some()),
    });
    finding =
        evidence::with(finding, "stdout", json!(case.session.object_name(&subject.stdout.object)));
    finding =
        evidence::with(finding, "stderr", json!(case.session.object_name(&subject.stderr.object)));
    let asked = subject.was_refused_a_terminal(1) || subject.was_refused_a_terminal(2);
    vec![evidence::with(finding, "asked_for_terminal", json!(asked))]
}

/// What it never wrote to. It may have ended with other pipes on fd 1 or 2, of which other findings tell.
fn streams(case: &Case<'_>, subject: &Subject<'_>) -> &'static str {
    let at_end = |object: &ObjectId| {
        let stdio = subject.process.stdio_at_end.as_ref();
        stdio.is_some_and(|stdio| stdio[1..].iter().any(|state| state.object == *object))
    };
    let mut rows = case.session.rows_of(subject.process.id, WRITE);
    let has_others = rows.any(|(key, row)| {
        row.bytes > 0 && case.session.object_kind(&key.object).passes_on() && at_end(&key.object)
    });
    if has_others { "the stdout and stderr that it was started with" } else { "stdout or stderr" }
}

/// What it waits for, if it runs: `: it waits to read its stdin, pipe:[9]`. A command that waits for the only one that it
/// has started waits for the same.
fn waits(case: &Case<'_>, subject: &Subject<'_>) -> Option<String> {
    let known = |id: &ProcessId| case.session.processes.get(id);
    let runs = |process: &&Process| process.end_ns.is_none();
    let leader = |process: &Process| {
        let mut threads = case.waiting.get(&process.id)?.iter();
        threads.find(|thread| thread.tid == process.id.tgid).copied()
    };
    let started = subject.members.iter().filter_map(known).filter(runs);
    let mut started = started.filter(|process| process.id != subject.process.id);
    let mut only = || started.next().filter(|_| started.next().is_none());
    let (who, thread) = match leader(subject.process).filter(|_| runs(&subject.process)) {
        Some(thread) => ("it".to_owned(), thread),
        None => only().and_then(|process| Some((process.short(), leader(process)?)))?,
    };
    let is_stdin = thread.fd == 0 && thread.call == BlockedCall::Read;
    let what = match words::waited_for(case, thread).filter(|_| is_stdin) {
        Some(name) => format!("waits to read its stdin, {}", text::name(&name)),
        None => words::waits(case, thread)?,
    };
    let writer = match thread.writer.as_str() {
        "" => String::new(),
        writer => format!(", whose write end {} holds", text::name(writer)),
    };
    Some(format!(": {who} {what}{writer}"))
}

/// Bytes that the members wrote through fds that the user did not ask about.
fn elsewhere(case: &Case<'_>, subject: &Subject<'_>) -> u64 {
    let members = subject.members.iter();
    members.filter_map(|member| case.session.processes.get(member)?.other_bytes).sum()
}

/// Bytes that the members wrote to objects that a recorder has forgotten.
fn to_ended(case: &Case<'_>, subject: &Subject<'_>) -> u64 {
    let members = subject.members.iter().filter_map(|member| case.session.processes.get(member));
    members.map(|member| member.written_to_ended).sum()
}

/// Files that it wrote on the way: `; 6 B went to /run/my.pid`.
fn beside_in_words(case: &Case<'_>, subject: &Subject<'_>) -> String {
    let bytes = subject.beside.iter().map(|(_, bytes)| bytes).sum();
    let objects: BTreeSet<ObjectId> = subject.beside.iter().map(|(object, _)| *object).collect();
    let names = objects.iter().map(|object| words::object(case, object));
    match bytes {
        0 => String::new(),
        _ => format!("; {} went to {}", units::exact(bytes), list(names, ", ")),
    }
}

/// A program inside, or the command itself, that had no stdout from its start on. Some programs do not even try then.
fn closed_in_words(case: &Case<'_>, subject: &Subject<'_>) -> Option<String> {
    let mut members =
        subject.members.iter().filter_map(|member| case.session.processes.get(member));
    let has_none = |process: &&Process| {
        let is_closed = process.stdio_object(1).is_some_and(|object| object.is_none());
        process.executed && !process.attached_late && is_closed
    };
    let process = members.find(has_none)?;
    let who = match process.id == subject.process.id {
        true => "it".to_owned(),
        false => words::called(process),
    };
    Some(format!("; {who} was started with its stdout closed, so what it prints goes nowhere"))
}

fn elsewhere_in_words(other: u64, to_ended: u64) -> String {
    match (other, to_ended) {
        (0, 0) => String::new(),
        (other, 0) => format!("; it wrote {} through other fds", units::exact(other)),
        (_, to_ended) => {
            format!("; it wrote {} to files or pipes that have ended since", units::exact(to_ended))
        }
    }
}

fn silenced_in_words(bytes: u64) -> String {
    match bytes {
        0 => String::new(),
        _ => format!("; {} of error messages inside it went to /dev/null", units::exact(bytes)),
    }
}

/// The only command inside that would have written to stdout and has read something: what came before it in a pipeline
/// wrote, and it did not.
fn last_of_pipeline(case: &Case<'_>, subject: &Subject<'_>) -> Option<String> {
    let others = subject.members.iter().filter(|member| **member != subject.process.id);
    let members = others.filter_map(|member| case.session.processes.get(member));
    let mut readers = members.filter_map(|process| {
        let has_it = process.executed && process.stdio_object(1) == Some(subject.stdout.object);
        let rows = case.session.rows_of(process.id, READ);
        let read = rows.filter(|(key, _)| process.has_as_input(key)).map(|(_, row)| row.bytes);
        Some((process, read.sum::<u64>())).filter(|(_, read)| has_it && *read > 0)
    });
    let (process, read) = readers.next().filter(|_| readers.next().is_none())?;
    let (name, read) = (words::called(process), units::exact(read));
    Some(format!("; {name} read {read} inside it and wrote nothing"))
}

/// That no process holds its stdout or stderr open for reading, if that is a pipe and it runs.
fn unread_pipe(case: &Case<'_>, subject: &Subject<'_>) -> Option<String> {
    let has_writers_only = |stream: &&Stream| {
        let mut holders = case.session.holders(&stream.object).peekable();
        stream.kind.is_pipe() && holders.peek().is_some() && !holders.any(Holding::reads)
    };
    let runs = subject.process.end_ns.is_none();
    let stream = subject.streams().into_iter().find(|stream| runs && has_writers_only(stream))?;
    let (name, object) = (stream.name(), words::object(case, &stream.object));
    Some(format!(
        ": its {name}, {object}, has no reader any more, so the kernel refuses what is written to it"
    ))
}

/// The likeliest reason.
fn advice(case: &Case<'_>, subject: &Subject<'_>, is_waiting: bool) -> String {
    let process = subject.process;
    let where_to = where_to(case, subject);
    let hint = if elsewhere(case, subject) > 0 {
        "Run again with --all-fds to see where the other bytes went.".to_owned()
    } else if process.signal().is_some() {
        "It was killed: output that it still had in a buffer is gone.".to_owned()
    } else if is_waiting {
        "Look at the other side of that: who should write, read or unlock it.".to_owned()
    } else if subject.was_refused_a_terminal(1) || subject.was_refused_a_terminal(2) {
        "It checked for a terminal and found none; it may stay silent or keep its output in a buffer \
         because of that. Try `tracer --pty -- COMMAND`."
            .to_owned()
    } else if process.has_failed() {
        "It failed with no output: look at its exit code.".to_owned()
    } else if process.end_ns.is_none() {
        "It may be at work, wait for something, or keep its output in a buffer: trace for longer, and \
         look at what it does."
            .to_owned()
    } else {
        "The command produced no output: look at what it is meant to print, and when.".to_owned()
    };
    format!("{hint} {where_to}")
}

/// Where its output would have gone.
fn where_to(case: &Case<'_>, subject: &Subject<'_>) -> String {
    let is_closed = |stream: &Stream| stream.kind == Kind::Closed || stream.object.is_none();
    let place = |stream: &Stream| words::destination(case, stream);
    let (stdout, stderr) = (&subject.stdout, &subject.stderr);
    match (is_closed(stdout), is_closed(stderr)) {
        (true, true) => "Its stdout and stderr are closed.".to_owned(),
        (true, false) => {
            format!("Its stdout is closed; its stderr would have gone to {}.", place(stderr))
        }
        (false, true) => {
            format!("Its output would have gone to {}; its stderr is closed.", place(stdout))
        }
        _ if place(stdout) == place(stderr) => {
            format!("Its output would have gone to {}.", place(stdout))
        }
        _ => format!("Its output would have gone to {} and {}.", place(stdout), place(stderr)),
    }
}
