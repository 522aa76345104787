//! Names of processes: command lines, or `comm` and pid.

use tracer_core::text::shorten;

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
