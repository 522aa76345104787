//! Parses the command line, installs the log, runs, and turns the result into an exit code.

#![forbid(unsafe_code)]

use std::{
    ffi::OsString,
    io::Write as _,
    os::unix::process::ExitStatusExt as _,
    process::{ExitCode, ExitStatus},
};

use clap::{Parser as _, error::ErrorKind};
use tracer::{
    app::{self, AppError, Replayed, Traced},
    cli::{self, Action, Cli, Shown},
    settings::{DaemonSettings, ExitCodeOf, PlaySettings, ReportSettings, Settings},
};
use tracer_core::text::escape;

/// Not all output arrived.
const FINDING: u8 = 1;
/// The command line is wrong.
const USAGE: u8 = 2;
/// What is added to the number of the signal that killed a command.
const KILLED: i32 = 128;
/// The machine does not allow a trace.
const ENVIRONMENT: u8 = 3;

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().collect();
    let mut cli = match Cli::try_parse_from(&args) {
        Ok(cli) => cli,
        Err(error) => return refuse(&error, &args),
    };
    app::init_log(cli.verbosity());
    if cli.version {
        return printed(app::version(cli.verbosity() > 0).as_bytes());
    }
    match cli.action.take() {
        Some(action) => act(action),
        None => match cli.into_settings() {
            Ok(settings) => trace(&settings),
            Err(sentence) => fail(&format!("{sentence} (see tracer --help)"), USAGE),
        },
    }
}

/// Does something other than a trace.
fn act(action: Action) -> ExitCode {
    match action {
        Action::Doctor { color } => match app::doctor(color.into()) {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::from(ENVIRONMENT),
            Err(error) => fail(&error.to_string(), ENVIRONMENT),
        },
        Action::Gvisor { action: cli::Gvisor::Config } => match app::gvisor_config() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => refuse_run(&error),
        },
        Action::Explain { rule, color } => match app::explain(rule.as_deref(), color.into()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => refuse_run(&error),
        },
        Action::Completions { shell } => printed(&cli::completions(shell)),
        Action::Man { action } => match cli::man_page(action.as_deref()) {
            Ok(page) => printed(&page),
            Err(sentence) => fail(&sentence, USAGE),
        },
        Action::Report(args) => with(args.into_settings(), "report", |it| report(&it)),
        Action::Daemon(args) => {
            let (is_check, detaches) = (args.check, args.detach);
            with(args.into_settings(), "daemon", |settings| match detaches {
                true => detach(&settings),
                false => record(&settings, is_check),
            })
        }
        Action::History(args) => with(args.into_settings(), "history", |settings| {
            app::history(&settings).map_or_else(|error| refuse_run(&error), |()| ExitCode::SUCCESS)
        }),
        Action::Export(args) => {
            with(args.into_arguments(), "export", |arguments| refuse_run(&app::export(&arguments)))
        }
        Action::Why(args) => with(args.into_settings(), "why", |it| match app::why(&it) {
            Ok(true) => ExitCode::from(FINDING),
            Ok(false) => ExitCode::SUCCESS,
            Err(error) => refuse_run(&error),
        }),
        Action::Top(args) => with(args.into_settings(), "top", |shown| match shown {
            Shown::Trace(settings) => trace(&settings),
            Shown::Recording(settings) => play(&settings),
            Shown::Daemon(settings) => app::watch(&settings)
                .map_or_else(|error| refuse_run(&error), |()| ExitCode::SUCCESS),
        }),
    }
}

/// Does what the settings say. If there are none, the arguments are wrong, and the page of the action helps.
fn with<S>(settings: Result<S, String>, action: &str, act: impl FnOnce(S) -> ExitCode) -> ExitCode {
    match settings {
        Ok(settings) => act(settings),
        Err(sentence) => fail(&format!("{sentence} (see tracer {action} --help)"), USAGE),
    }
}

fn trace(settings: &Settings) -> ExitCode {
    match app::trace(settings) {
        Ok(Traced { has_loss, command }) => match (settings.exit_code, command.and_then(code_of)) {
            (ExitCodeOf::Command, Some(code)) => ExitCode::from(code),
            _ if has_loss => ExitCode::from(FINDING),
            _ => ExitCode::SUCCESS,
        },
        Err(error) => refuse_run(&error),
    }
}

/// Records until a signal comes, or only checks whether that is possible.
fn record(settings: &DaemonSettings, is_check: bool) -> ExitCode {
    let done = if is_check { app::check_daemon(settings) } else { app::daemon(settings) };
    done.map_or_else(|error| refuse_run(&error), |()| ExitCode::SUCCESS)
}

/// Detaches what a recorder has left attached.
fn detach(settings: &DaemonSettings) -> ExitCode {
    match app::detach_daemon(settings) {
        Ok(true) => printed(b"detached\n"),
        Ok(false) => printed(b"nothing was attached\n"),
        Err(error) => refuse_run(&error),
    }
}

fn play(settings: &PlaySettings) -> ExitCode {
    match app::play(settings) {
        Ok(true) => ExitCode::from(FINDING),
        Ok(false) => ExitCode::SUCCESS,
        Err(error) => refuse_run(&error),
    }
}

/// The exit code of a command as shells have it.
fn code_of(status: ExitStatus) -> Option<u8> {
    let code = status.code().or_else(|| status.signal().map(|signal| KILLED + signal))?;
    u8::try_from(code).ok()
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

/// Writes a text to standard output.
fn printed(text: &[u8]) -> ExitCode {
    match app::print(text) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => refuse_run(&error),
    }
}

fn refuse_run(error: &AppError) -> ExitCode {
    fail(&error.to_string(), if error.is_usage() { USAGE } else { ENVIRONMENT })
}

/// Prints help, or an error as one sentence.
fn refuse(error: &clap::Error, args: &[OsString]) -> ExitCode {
    match error.kind() {
        ErrorKind::DisplayHelp => {
            // A reader that closes the pipe early has read enough.
            let _ = error.print();
            ExitCode::SUCCESS
        }
        _ => fail(&cli::one_line(error, args), USAGE),
    }
}

fn fail(sentence: &str, code: u8) -> ExitCode {
    // If standard error is closed, the error cannot be reported.
    let _ = writeln!(std::io::stderr(), "tracer: {}", escape(sentence));
    ExitCode::from(code)
}
