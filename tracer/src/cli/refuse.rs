//! Errors of the command line as one sentence, with a hint where the mistake is a common one.

use std::ffi::OsString;

use clap::{
    CommandFactory as _,
    error::{ContextKind, ContextValue, ErrorKind},
};

use super::Cli;

/// The first sentence of a clap error, on one line.
#[must_use]
pub fn one_line(error: &clap::Error, args: &[OsString]) -> String {
    let text = error.render().to_string();
    let paragraph: Vec<&str> =
        text.lines().take_while(|line| !line.trim().is_empty()).map(str::trim).collect();
    let sentence = paragraph.join(" ");
    let sentence = sentence.strip_prefix("error: ").unwrap_or(&sentence).trim_end_matches('.');
    match command_without_dashes(error, args) {
        Some(hint) => format!("{sentence}: {hint}"),
        None => format!("{sentence} (see tracer --help)"),
    }
}

/// A hint for `tracer ls -l`: a command stands after `--`.
fn command_without_dashes(error: &clap::Error, args: &[OsString]) -> Option<String> {
    let kind = match error.kind() {
        ErrorKind::UnknownArgument => ContextKind::InvalidArg,
        ErrorKind::InvalidSubcommand => ContextKind::InvalidSubcommand,
        _ => return None,
    };
    let Some(ContextValue::String(word)) = error.get(kind) else { return None };
    let at = args.iter().position(|argument| argument == word.as_str())?;
    let is_action =
        |name: &OsString| Cli::command().get_subcommands().any(|action| name == action.get_name());
    // A word after `--`, or one of `tracer report`, is no command.
    if word.starts_with('-')
        || args.iter().take(at).skip(1).any(|name| name == "--" || is_action(name))
    {
        return None;
    }
    let line: Vec<_> = args.iter().skip(at).map(|argument| argument.to_string_lossy()).collect();
    Some(format!("to trace a command, write `tracer -- {}`", line.join(" ")))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    fn refused(line: &str) -> String {
        let args: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        one_line(&Cli::try_parse_from(&args).unwrap_err(), &args)
    }

    #[test]
    fn a_command_without_dashes_is_told_where_they_belong() {
        let sentence = refused("tracer ls -l");
        assert!(sentence.ends_with("write `tracer -- ls -l`"), "{sentence}");
        let sentence = refused("tracer --show ls");
        assert!(sentence.ends_with("write `tracer -- ls`"), "{sentence}");
    }

    #[test]
    fn other_mistakes_get_no_such_hint() {
        for line in ["tracer --nonsense", "tracer doctor ls", "tracer --pid abc"] {
            let sentence = refused(line);
            assert!(sentence.ends_with("(see tracer --help)"), "{sentence}");
            assert_eq!(sentence.lines().count(), 1);
        }
    }
}
