//! The command line: gives settings, or one sentence.

use std::{
    ffi::{OsStr, OsString},
    os::unix::ffi::OsStrExt as _,
};

use clap::{Parser as _, error::ErrorKind};
use tracer::cli::{self, Action, Cli};

use crate::oracle::check_sentence;

/// Takes any bytes as the arguments of `tracer`, each ended by NUL.
pub fn check(input: &[u8]) {
    let words = input.split(|byte| *byte == 0).map(|word| OsStr::from_bytes(word).to_owned());
    let line = std::iter::once(OsString::from("tracer")).chain(words);
    let line: Vec<OsString> = line.collect();
    match Cli::try_parse_from(&line) {
        Ok(cli) => settings(cli),
        Err(error) => {
            if error.kind() != ErrorKind::DisplayHelp {
                check_sentence(&cli::one_line(&error, &line));
            }
        }
    }
}

fn settings(cli: Cli) {
    let _ = cli.verbosity();
    let refused = match cli.action {
        Some(
            Action::Doctor { .. }
            | Action::Explain { .. }
            | Action::Completions { .. }
            | Action::Gvisor { .. }
            // Another program reads its arguments again.
            | Action::Export(_)
            // It reads the file that --config names.
            | Action::Daemon(_),
        ) => None,
        Some(Action::Man { action }) => cli::man_page(action.as_deref()).err(),
        Some(Action::Report(args)) => args.into_settings().err(),
        Some(Action::History(args)) => args.into_settings().err(),
        Some(Action::Why(args)) => args.into_settings().err(),
        Some(Action::Top(args)) => args.into_settings().err(),
        None => cli.into_settings().err(),
    };
    refused.iter().for_each(|sentence| {
        assert!(!sentence.is_empty());
        check_sentence(sentence);
    });
}
