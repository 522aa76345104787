//! Names of processes, as command lines or `comm` and pid, and of their streams.

use tracer_core::{
    report::{Command, Fd, Process},
    text::shorten,
};

/// The most columns of a command line.
pub(super) const LONGEST_COMMAND: usize = 120;

/// The most columns of a `comm`. The kernel allows 15, but a report may have been written by another program.
const LONGEST_COMM: usize = 32;

/// Joins arguments as they would be typed into a shell. Returns `comm` if there are none.
///
/// The text is not escaped; renderers do that. Quotes keep a chosen name from looking like a mark or a sentence.
#[must_use]
pub fn command_line(argv: &[String], comm: &str) -> String {
    if argv.is_empty() && comm.is_empty() {
        return "(no name)".to_owned();
    }
    let comm = [comm.to_owned()];
    let mut line = String::new();
    for argument in if argv.is_empty() { comm.as_slice() } else { argv } {
        if !line.is_empty() {
            line.push(' ');
        }
        push_quoted(&mut line, argument);
    }
    line
}

/// A command line, escaped and cut.
pub(super) fn short_command(argv: &[String], comm: &str, limit: usize) -> String {
    shorten(&command_line(argv, comm), limit.min(LONGEST_COMMAND))
}

/// `manager (60)`, escaped.
pub(super) fn short_name(comm: &str, pid: u32) -> String {
    let comm = if comm.is_empty() { "(no name)" } else { comm };
    format!("{} ({pid})", shorten(comm, LONGEST_COMM))
}

/// Whether a process is a command: it executed a program, ran before the trace, or wrote something. A fork of a shell
/// that only starts others is none.
pub(super) fn is_command(process: &Process) -> bool {
    process.executed || process.attached_late || process.fds.iter().any(|row| row.bytes > 0)
}

/// The command line under which a command wrote last, if it has executed another program since. Not escaped.
pub(super) fn wrote_as(command: &Command) -> Option<&str> {
    let segments = command.streams.iter().flat_map(|stream| &stream.segments);
    let last = segments.filter_map(|segment| segment.last_image).max()?;
    let image = command.images.get(usize::try_from(last).ok()?)?;
    let is_latest = last.saturating_add(1) >= command.images.len() as u64;
    (!is_latest).then_some(image.command.as_str())
}

/// The stream that an fd stands for: a shell's `>&2` puts stderr onto fd 1.
pub(super) fn stream_name(process: &Process, row: &Fd) -> String {
    let is_stream = |index: usize| process.stdio.get(index) == Some(&row.object);
    match (row.fd, is_stream(1), is_stream(2)) {
        (1, false, true) => "stderr".to_owned(),
        (2, true, false) => "stdout".to_owned(),
        (1, ..) => "stdout".to_owned(),
        (2, ..) => "stderr".to_owned(),
        (-1, ..) => "uring".to_owned(),
        (fd, ..) => format!("fd {fd}"),
    }
}

fn push_quoted(line: &mut String, argument: &str) {
    let is_bare =
        |character: char| character.is_alphanumeric() || "%+,-./:=@_^{}[]~".contains(character);
    if !argument.is_empty() && argument.chars().all(is_bare) {
        return line.push_str(argument);
    }
    line.push('\'');
    line.push_str(&argument.replace('\'', r"'\''"));
    line.push('\'');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn argv(arguments: &[&str]) -> Vec<String> {
        arguments.iter().map(|&argument| argument.to_owned()).collect()
    }

    #[test]
    fn arguments_are_quoted_where_a_shell_would_need_it() {
        let line = command_line(&argv(&["docker", "pull", "--progress=plain", "nginx:1.27"]), "");
        assert_eq!(line, "docker pull --progress=plain nginx:1.27");
        assert_eq!(command_line(&argv(&["sh", "-c", "echo hi"]), "sh"), "sh -c 'echo hi'");
        assert_eq!(command_line(&argv(&["echo", "", "it's"]), ""), r"echo '' 'it'\''s'");
    }

    #[test]
    fn a_process_without_arguments_goes_by_its_name() {
        assert_eq!(command_line(&[], "kthreadd"), "kthreadd");
        assert_eq!(command_line(&[], ""), "(no name)");
        assert_eq!(command_line(&[], "✓ all read"), "'✓ all read'");
        assert_eq!(short_name("sh\n", 7), "sh\\n (7)");
    }

    #[test]
    fn a_long_command_line_is_cut_at_120_columns() {
        let long = argv(&["echo", &"x".repeat(500)]);
        let shown = short_command(&long, "echo", 1000);
        assert_eq!(shown.chars().count(), LONGEST_COMMAND);
        assert!(shown.ends_with('…'));
    }
}
