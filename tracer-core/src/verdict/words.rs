//! Phrases that rules share, so that every sentence names things alike.

use super::{Case, Stream, Subject};
use crate::{
    event::FileNow,
    session::{Close, Kind, Process, named},
    verdict::Confidence,
};

/// What to make of a reader that ended well before it had read everything.
pub(super) const HAD_ENOUGH: &str =
    "The next command of the pipeline had read what it wanted (as `head` does).";

/// Characters of a command line in a sentence.
const COMMAND: usize = 60;

/// The command and its pid: `docker pull x (pid 71)`.
pub(super) fn who(subject: &Subject<'_>) -> String {
    called(subject.process)
}

/// A process by its command line.
pub(super) fn called(process: &Process) -> String {
    named(&shortened(&process.command()), process.id)
}

/// A command line on one line, cut where it is long.
fn shortened(command: &str) -> String {
    let one_line = command.split_whitespace().collect::<Vec<_>>().join(" ");
    if one_line.chars().count() <= COMMAND {
        return one_line;
    }
    one_line.chars().take(COMMAND - 1).chain(['…']).collect()
}

/// Exact bytes with thousands separators: `1,288,895 B`.
pub(crate) fn bytes(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3 + 2);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text + " B"
}

/// A span between two moments: `3 min 5 s`, `2.0 s`, `12 ms`, `less than 1 ms`.
pub(super) fn span(later_ns: u64, earlier_ns: u64) -> String {
    let ms = later_ns.saturating_sub(earlier_ns) / 1_000_000;
    match ms {
        0 => "less than 1 ms".to_owned(),
        1..1_000 => format!("{ms} ms"),
        1_000..120_000 => format!("{}.{} s", ms / 1_000, ms % 1_000 / 100),
        120_000..7_200_000 => format!("{} min {} s", ms / 60_000, ms % 60_000 / 1_000),
        _ => format!("{} h {} min", ms / 3_600_000, ms % 3_600_000 / 60_000),
    }
}

/// A number and its noun: `1 write`, `3 writes`.
pub(super) fn count(number: u64, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// Who gave up the read end: `python3 (pid 7) closed its read end 12 ms after the end of the command`.
pub(super) fn gave_up(closer: &Close, subject: &Subject<'_>) -> String {
    let how = if closer.by_exit { "ended with its read end open" } else { "closed its read end" };
    let who = named(&closer.comm, closer.process);
    let since = match subject.process.end_ns {
        Some(end) if closer.time_ns >= end => {
            format!(" {} after the command had ended", span(closer.time_ns, end))
        }
        Some(end) => format!(" {} before the command ended", span(end, closer.time_ns)),
        None => String::new(),
    };
    format!("{who} {how}{since}")
}

/// What limits a sum: ` since tracer attached`, or that tracer lost something; empty when nothing does.
pub(super) fn reach(case: &Case<'_>, subject: &Subject<'_>) -> &'static str {
    match case.confidence(subject) {
        Confidence::Certain => "",
        Confidence::Unsure if subject.process.attached_late => " since tracer attached",
        Confidence::Unsure => ", as far as tracer could see",
    }
}

/// How the subject ended: ` It exited with 125.`, ` It still runs.`
pub(super) fn ending(subject: &Subject<'_>) -> String {
    match (subject.process.exit_code(), subject.process.signal()) {
        (Some(code), _) => format!(" It exited with {code}."),
        (None, Some(signal)) => format!(" It was killed by signal {signal}."),
        (None, None) => " It still runs.".to_owned(),
    }
}

/// Where a stream leads: `pipe:[9], whose read end manager (pid 60) holds`.
pub(super) fn destination(case: &Case<'_>, stream: &Stream) -> String {
    let name = case.session.object_name(&stream.object);
    let far = case.session.far_end(&stream.object);
    let mut readers = case.session.holders(&far).filter(|holding| holding.reads());
    match readers.next().filter(|_| stream.kind.passes_on() && stream.kind != Kind::Pty) {
        Some(reader) => {
            format!("{name}, whose read end {} holds", named(&reader.comm, reader.process))
        }
        None => name,
    }
}

/// What became of a stream's bytes: `all read by manager (pid 60)`.
pub(super) fn fate(case: &Case<'_>, stream: &Stream) -> String {
    let name = case.session.object_name(&stream.object);
    match stream.kind {
        Kind::Pipe | Kind::Fifo => taken(case, stream),
        Kind::Socket if case.session.is_joined(&stream.object) => taken(case, stream),
        Kind::Null => "discarded in /dev/null".to_owned(),
        Kind::File => file(case, stream),
        Kind::Pty => match case.flows.get(&stream.object).readers_in_words() {
            Some(reader) => format!("to the terminal {name}, which {reader} shows"),
            None => format!("to the terminal {name}"),
        },
        Kind::Socket => format!("into {name}, beyond which this machine's sight ends"),
        Kind::Device | Kind::Unknown => format!("to {name}"),
        Kind::Closed => "to a closed fd".to_owned(),
    }
}

/// What readers took out.
fn taken(case: &Case<'_>, stream: &Stream) -> String {
    let flow = case.flows.get(&stream.object);
    match (flow.unread, flow.readers_in_words()) {
        (Some(0), Some(readers)) => format!("all read by {readers}"),
        (Some(unread), Some(readers)) => {
            format!("{} of it read by {readers}, {} unread", bytes(flow.read), bytes(unread))
        }
        (_, None) => {
            format!("read by nobody so far, in {}", case.session.object_name(&stream.object))
        }
        (None, Some(readers)) => format!("{} read by {readers}", bytes(flow.read)),
    }
}

/// The file, and whether its path still leads to it.
fn file(case: &Case<'_>, stream: &Stream) -> String {
    let name = case.session.object_name(&stream.object);
    let now = case.session.objects.get(&stream.object).and_then(|object| object.now);
    match now {
        Some(FileNow::Replaced) => format!(
            "into the file that was {name}; another file has that name now (rotated or replaced)"
        ),
        Some(FileNow::Gone) => format!("into the file {name}, which has been removed since"),
        _ => format!("into the file {name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_separators_where_they_belong() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(1_000), "1,000 B");
        assert_eq!(bytes(1_288_895), "1,288,895 B");
    }

    #[test]
    fn a_span_is_told_in_the_unit_people_think_in() {
        let told = |ms: u64| span(ms * 1_000_000 + 5, 5);
        assert_eq!(span(400, 5), "less than 1 ms");
        assert_eq!((told(12), told(999)), ("12 ms".into(), "999 ms".into()));
        assert_eq!((told(1_000), told(61_250)), ("1.0 s".into(), "61.2 s".into()));
        assert_eq!(told(185_000), "3 min 5 s");
        assert_eq!(told(90_000_000), "25 h 0 min");
    }

    #[test]
    fn a_long_command_is_cut_with_a_mark() {
        let short = shortened(&"x".repeat(100));
        assert_eq!(short.chars().count(), COMMAND);
        assert!(short.ends_with('…'));
    }
}
