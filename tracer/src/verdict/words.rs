//! Phrases that rules share, so that every sentence names things alike.

use super::{Case, Stream, Subject};

/// Characters of a command line in a sentence.
const COMMAND: usize = 60;

/// The command and its pid: `docker pull x (pid 71)`.
pub(super) fn who(subject: &Subject<'_>) -> String {
    format!("{} (pid {})", shortened(&subject.process.command()), subject.process.id.tgid)
}

/// A command line on one line, cut where it is long.
pub(super) fn shortened(command: &str) -> String {
    let one_line = command.split_whitespace().collect::<Vec<_>>().join(" ");
    if one_line.chars().count() <= COMMAND {
        return one_line;
    }
    one_line.chars().take(COMMAND - 1).chain(['…']).collect()
}

/// Exact bytes with thousands separators: `1,288,895 B`.
pub(super) fn bytes(count: u64) -> String {
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

/// A span between two moments: `2.0 s`, `12 ms`.
pub(super) fn seconds(later_ns: u64, earlier_ns: u64) -> String {
    let span = later_ns.saturating_sub(earlier_ns);
    if span >= 1_000_000_000 {
        format!("{:.1} s", span as f64 / 1e9)
    } else {
        format!("{:.0} ms", span as f64 / 1e6)
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

/// Where a stream leads: `pipe:[9] (held open for reading by manager (pid 60))`.
pub(super) fn destination(case: &Case<'_>, stream: &Stream) -> String {
    let name = case.session.object_name(&stream.object);
    let readers: Vec<String> = case
        .session
        .objects
        .get(&stream.object)
        .filter(|object| object.kind.is_pipe())
        .into_iter()
        .flat_map(|object| &object.holders)
        .filter(|holding| holding.reads())
        .map(|holding| format!("{} (pid {})", holding.comm, holding.process.tgid))
        .collect();
    match readers.first() {
        Some(reader) => format!("{name}, whose read end {reader} holds"),
        None => name,
    }
}

/// What became of a stream's bytes: `all read by manager (pid 60)`.
pub(super) fn fate(case: &Case<'_>, stream: &Stream) -> String {
    use crate::session::Kind;
    let flow = case.flows.get(&stream.object);
    let name = case.session.object_name(&stream.object);
    match stream.kind {
        Kind::Pipe | Kind::Fifo => match (flow.unread, flow.readers_in_words()) {
            (Some(0), Some(readers)) => format!("all read by {readers}"),
            (Some(unread), Some(readers)) => {
                format!("{} of it read by {readers}, {} unread", bytes(flow.read), bytes(unread))
            }
            (_, None) => format!("read by nobody so far, in {name}"),
            (None, Some(readers)) => format!("{} read by {readers}", bytes(flow.read)),
        },
        Kind::Null => "discarded in /dev/null".to_owned(),
        Kind::File => format!("into the file {name}"),
        Kind::Pty => format!("to the terminal {name}"),
        Kind::Socket => match flow.readers_in_words() {
            Some(readers) => format!("into {name}, used by {readers} too"),
            None => format!("into {name}"),
        },
        Kind::Device | Kind::Unknown => format!("to {name}"),
        Kind::Closed => "to a closed fd".to_owned(),
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
    fn a_long_command_is_cut_with_a_mark() {
        let short = shortened(&"x".repeat(100));
        assert_eq!(short.chars().count(), COMMAND);
        assert!(short.ends_with('…'));
    }
}
