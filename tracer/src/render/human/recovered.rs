//! Quotes output that did not arrive.

use std::{collections::HashMap, io};

use tracer_core::{
    capture::recovery::Doubt,
    report::{Captured, Object, Process, Recovered, RecoveredKind, Report},
    text::{
        list,
        units::{bytes, count},
    },
};

use super::{by, name};
use crate::render::{
    command::short_name,
    live::fd_name,
    palette::{FAINT, ODD, STRONG},
    text::{Page, Text},
};

/// How many readers are named.
const MOST_ENDPOINTS: usize = 4;

/// Writes each recovered output: how many bytes, why they may be the wrong ones, and the last lines.
pub(super) fn write(
    page: &mut Page<'_>,
    report: &Report,
    objects: &HashMap<&str, &Object>,
) -> io::Result<()> {
    let Some(captured) = &report.capture else { return Ok(()) };
    for recovered in &captured.recovered {
        page.section()?;
        write_one(page, report, captured, recovered, objects)?;
    }
    if captured.more == 0 {
        return Ok(());
    }
    let more = count(captured.more, "more output");
    let words = format!("… and {more} of this kind, whole in {}", captured.directory);
    page.words(Text::default(), 2, FAINT, &words)
}

/// Writes one output that did not arrive.
pub(super) fn write_one(
    page: &mut Page<'_>,
    report: &Report,
    captured: &Captured,
    recovered: &Recovered,
    objects: &HashMap<&str, &Object>,
) -> io::Result<()> {
    let object = objects.get(recovered.object.as_str()).copied();
    let place = place(recovered, &report.processes);
    let head = match recovered.kind {
        RecoveredKind::Unread => unread(recovered, &place),
        RecoveredKind::Stream => stream(recovered, &place, object),
    };
    page.words(Text::default(), 2, STRONG, &head)?;
    write_doubts(page, recovered)?;
    quote(page, captured, recovered)
}

/// `recovered 312 B that were written to fd 2 stderr and never read, by docker (71):`
fn unread(recovered: &Recovered, place: &str) -> String {
    let who = who(recovered);
    let fate = format!("that were written to {place} and never read, by {who}");
    match (recovered.bytes, recovered.missing) {
        (0, missing) => format!("nothing recovered of {} {fate}", bytes(missing)),
        (held, 0) => format!("recovered {} {fate}:", bytes(held)),
        (held, missing) => {
            format!("recovered {} of {} {fate}:", bytes(held), bytes(held.saturating_add(missing)))
        }
    }
}

/// `122 B that docker (71) wrote to fd 2 stderr, read by goproc (70):`
fn stream(recovered: &Recovered, place: &str, object: Option<&Object>) -> String {
    let whole = recovered.bytes.saturating_add(recovered.missing);
    let size = match recovered.missing {
        0 => bytes(whole),
        _ => format!("{} of {}", bytes(recovered.bytes), bytes(whole)),
    };
    let end = if recovered.bytes == 0 { "" } else { ":" };
    let who = who(recovered);
    format!("{size} that {who} wrote to {place}, {}{end}", fate(recovered, object))
}

fn fate(recovered: &Recovered, object: Option<&Object>) -> String {
    let readers =
        object.map(|object| by(&object.readers, MOST_ENDPOINTS, name)).unwrap_or_default();
    match object.map(|object| object.kind.as_str()) {
        Some("null") => "discarded in /dev/null".to_owned(),
        None if recovered.object == "/dev/null" => "discarded in /dev/null".to_owned(),
        _ if !readers.is_empty() => format!("read{readers}"),
        _ => format!("which is {}", recovered.object),
    }
}

/// The fds that it was written through. If a shell's `>&2` has put the command's stderr onto another fd, also what
/// that fd stands for.
fn place(recovered: &Recovered, processes: &[Process]) -> String {
    let names: Vec<String> = recovered.fds.iter().map(|fd| fd_name(*fd)).collect();
    let stands_for = processes.iter().find_map(|process| {
        let is_on = |fd: usize| process.stdio.get(fd) == Some(&recovered.object);
        match (is_on(1), is_on(2)) {
            (true, false) => Some((1, "stdout")),
            (false, true) => Some((2, "stderr")),
            _ => None,
        }
    });
    match stands_for {
        _ if names.is_empty() => recovered.object.clone(),
        Some((fd, stream)) if !recovered.fds.contains(&fd) => {
            let fds = recovered.fds.iter().map(|fd| format!("fd {fd}"));
            format!("{stream} (through {})", list(fds, " and "))
        }
        _ => list(names, " and "),
    }
}

fn who(recovered: &Recovered) -> String {
    let writers = recovered.pids.iter().zip(&recovered.comms);
    match list(writers.map(|(pid, comm)| short_name(comm, *pid)), ", ") {
        none if none.is_empty() => "an unknown process".to_owned(),
        named => named,
    }
}

fn write_doubts(page: &mut Page<'_>, recovered: &Recovered) -> io::Result<()> {
    if recovered.exact {
        return Ok(());
    }
    let words = match list(recovered.doubts.iter().map(|doubt| words(*doubt)), "; ") {
        none if none.is_empty() => "not certain".to_owned(),
        doubts => format!("not certain: {doubts}"),
    };
    page.words(Text::blank(2), 4, ODD, &words)
}

/// Why the bytes are not certain, as a part of a sentence.
fn words(doubt: Doubt) -> &'static str {
    match doubt {
        Doubt::Gaps => "bytes of it are missing in the capture",
        Doubt::Before => "some were inside before the trace, so they were not captured",
        Doubt::Others => "others wrote to it as well, and that was not captured",
        Doubt::Threads => {
            "two threads wrote at the same time where it begins, and only the order in which \
             their writes returned is known"
        }
        Doubt::Unbalanced => {
            "the counts of the pipe are incomplete, so other bytes may be the lost ones"
        }
        Doubt::InFlight => "a write had not returned: what it had put in already was not captured",
        Doubt::Unfinished => "the capture has no end",
    }
}

fn quote(page: &mut Page<'_>, captured: &Captured, recovered: &Recovered) -> io::Result<()> {
    let whole = whole_in(captured, recovered);
    if recovered.text_cut > 0 {
        let words = format!("… {} more before this, {whole}", bytes(recovered.text_cut));
        page.words(Text::blank(2), 4, FAINT, &words)?;
    } else if recovered.file.is_some() {
        page.words(Text::blank(2), 4, FAINT, &whole)?;
    }
    let text = recovered.text.strip_suffix('\n').unwrap_or(&recovered.text);
    if recovered.text.is_empty() {
        return Ok(());
    }
    text.split('\n').try_for_each(|line| page.quote(2, line))
}

/// Where all of it is: in a file of its own, in the file of its stream, or in several of those.
fn whole_in(captured: &Captured, recovered: &Recovered) -> String {
    let is_its = |pid: u32, fd: i32, object: &str| {
        object == recovered.object && recovered.pids.contains(&pid) && recovered.fds.contains(&fd)
    };
    let mut files = captured
        .streams
        .iter()
        .filter(|stream| is_its(stream.pid, stream.fd, &stream.object))
        .map(|stream| format!("{}/{}", captured.directory, stream.file));
    match (&recovered.file, recovered.kind, files.next()) {
        (Some(file), ..) => format!("whole in {file}"),
        (None, RecoveredKind::Stream, Some(file)) => format!("whole in {file}"),
        (None, RecoveredKind::Unread, Some(file)) if files.next().is_none() => {
            format!("at the end of {file}")
        }
        _ => "whole with --recover DIR".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_doubt_has_its_own_words() {
        let all = [
            Doubt::Gaps,
            Doubt::Before,
            Doubt::Others,
            Doubt::Threads,
            Doubt::Unbalanced,
            Doubt::InFlight,
            Doubt::Unfinished,
        ];
        let words: std::collections::BTreeSet<&str> = all.into_iter().map(words).collect();
        assert_eq!(words.len(), all.len());
    }

    #[test]
    fn stderr_stays_stderr_when_a_shell_writes_to_it_through_another_fd() {
        let mut report = crate::render::tests::samples::delivered();
        report.processes[0].stdio = ["/dev/null", "pipe:[1]", "pipe:[2]"].map(str::to_owned).into();
        let to = |object: &str, fds: &[i32]| {
            let (object, fds) = (object.to_owned(), fds.to_owned());
            place(&Recovered { object, fds, ..Recovered::default() }, &report.processes)
        };
        assert_eq!(to("pipe:[2]", &[1]), "stderr (through fd 1)");
        assert_eq!(to("pipe:[2]", &[1, 2]), "fd 1 stdout and fd 2 stderr");
        assert_eq!(to("pipe:[1]", &[1]), "fd 1 stdout");
        assert_eq!(to("pipe:[9]", &[1]), "fd 1 stdout");
    }
}
