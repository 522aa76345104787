//! Parses the command line, installs the log, runs, and turns the result into an exit code.

#![forbid(unsafe_code)]

use std::{io::Write as _, process::ExitCode};

use clap::{Parser as _, error::ErrorKind};
use tracer::{
    app::{self, AppError, Replayed},
    cli::{self, Action, Cli},
    settings::ReportSettings,
};
use tracer_core::text::escape;

/// Output was lost, or nothing was written.
const FINDING: u8 = 1;
/// The command line is wrong.
const USAGE: u8 = 2;
/// The machine does not allow a trace.
const ENVIRONMENT: u8 = 3;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return refuse(&error),
    };
    app::init_log(cli.verbosity());
    if let Some(Action::Doctor { color }) = cli.action {
        return match app::doctor(color.into()) {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::from(ENVIRONMENT),
            Err(error) => fail(&error.to_string(), ENVIRONMENT),
        };
    }
    if let Some(Action::Report(args)) = cli.action {
        return match args.into_settings() {
            Ok(settings) => report(&settings),
            Err(sentence) => fail(&format!("{sentence} (see tracer report --help)"), USAGE),
        };
    }
    let settings = match cli.into_settings() {
        Ok(settings) => settings,
        Err(sentence) => return fail(&format!("{sentence} (see tracer --help)"), USAGE),
    };
    match app::trace(&settings) {
        Ok(false) => ExitCode::SUCCESS,
        Ok(true) => ExitCode::from(FINDING),
        Err(error) => refuse_run(&error),
    }
}

/// Reports recorded sessions. The exit code is that of the worst one.
fn report(settings: &ReportSettings) -> ExitCode {
    match app::replay(settings) {
        Ok(Replayed { has_loss, unreadable }) => match (unreadable.as_slice(), has_loss) {
            ([], false) => ExitCode::SUCCESS,
            ([], true) => ExitCode::from(FINDING),
            (errors, _) => errors.iter().fold(ExitCode::SUCCESS, |_, error| refuse_run(error)),
        },
        Err(error) => refuse_run(&error),
    }
}

fn refuse_run(error: &AppError) -> ExitCode {
    fail(&error.to_string(), if error.is_usage() { USAGE } else { ENVIRONMENT })
}

/// Prints help or version, or an error as one sentence.
fn refuse(error: &clap::Error) -> ExitCode {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            // A reader that closes the pipe early has read enough.
            let _ = error.print();
            ExitCode::SUCCESS
        }
        _ => fail(&cli::one_line(error), USAGE),
    }
}

fn fail(sentence: &str, code: u8) -> ExitCode {
    // If standard error is closed, the error cannot be reported.
    let _ = writeln!(std::io::stderr(), "tracer: {}", escape(sentence));
    ExitCode::from(code)
}
