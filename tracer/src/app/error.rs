//! Errors that prevent a run, each with one sentence and an exit code.

use std::{io, path::PathBuf};

use rustix::process::Signal;
use tracer_core::recording::ReadError;
use tracer_history::HistoryError;
use tracer_loader::LoaderError;
use tracer_reach::{JournalError, MetricsError};

use crate::{
    capture::folder::FolderError,
    doctor::EnvironmentError,
    launch::LaunchError,
    scope::ScopeError,
    sys::limits::{in_words, start_in_words},
    target::TargetError,
};

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// This machine does not allow a trace.
    #[error(transparent)]
    Environment(#[from] EnvironmentError),
    /// The target was not found.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// The command did not start.
    #[error(transparent)]
    Launch(#[from] LaunchError),
    /// The kernel refused a program or a map.
    #[error(transparent)]
    Loader(#[from] LoaderError),
    /// The process ended between its discovery and the attach.
    #[error(
        "process {pid} ({comm}) ended before tracer could attach; start it under `tracer -- COMMAND` instead"
    )]
    EndedBeforeAttach {
        /// Its pid.
        pid: u32,
        /// Its name.
        comm: String,
    },
    /// The cgroups of this machine cannot be watched, or none can be meant.
    #[error(transparent)]
    Scope(#[from] ScopeError),
    /// The thread that watches cgroups has ended.
    #[error("tracer no longer sees new cgroups; start `tracer daemon` again")]
    ScopeLost,
    /// A signal came before the trace began. There is no report, and the command was not started.
    #[error("ended by {signal:?} before the trace began")]
    Interrupted {
        /// The signal.
        signal: Signal,
    },
    /// The report cannot be written.
    #[error("cannot write the report to {}: {}", path.display(), in_words(source))]
    Output {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// A manager's log cannot be read.
    #[error("cannot read the worker log {}: {source}; name a file, or - for standard input", path.display())]
    WorkerLog {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The session cannot be recorded.
    #[error("cannot record to {}: {}", path.display(), in_words(source))]
    Record {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The file to record to has something in it.
    #[error("--record: {} exists already and is not empty: name a new file, or remove it", path.display())]
    RecordExists {
        /// The file.
        path: PathBuf,
    },
    /// The folder for captured output, or for recovered output, cannot be used.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// Captured output cannot be stored or shown.
    #[error("cannot begin to capture: {source}")]
    Capture {
        /// The system's error.
        source: io::Error,
    },
    /// A capture folder cannot be read.
    #[error("cannot read the capture {}: {source}", path.display())]
    Captured {
        /// The folder.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// A recording has no captured output to recover from.
    #[error("{} has no captured output: --recover needs a folder of --capture", path.display())]
    NothingCaptured {
        /// The file.
        path: PathBuf,
    },
    /// No rule has this name.
    #[error("no rule is called {name}: `tracer explain` lists all rules")]
    NoSuchRule {
        /// What was typed.
        name: String,
    },
    /// A file has no session.
    #[error("cannot report {}: {source}", path.display())]
    Recording {
        /// The file.
        path: PathBuf,
        /// What is wrong with the file.
        source: ReadError,
    },
    /// The history cannot be read.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// journald cannot be told.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The history has nothing in it.
    #[error("the history in {} is empty: `tracer daemon` writes it", path.display())]
    EmptyHistory {
        /// The folder.
        path: PathBuf,
    },
    /// A document was asked for, and there is only a line.
    #[error(
        "no report was kept to draw, because only losses and warnings have one: use --format human"
    )]
    NoReport,
    /// No recorder writes to this history.
    #[error(
        "no `tracer daemon` runs that records to {}: start it (`systemctl enable --now tracer-daemon`), or name its folder with --history",
        path.display()
    )]
    NoDaemon {
        /// The folder of the history.
        path: PathBuf,
    },
    /// Another user wants to look at the recorder.
    #[error("only root can look at what `tracer daemon` records: use sudo tracer top --daemon")]
    DaemonIsRoots,
    /// The recorder cannot be looked at.
    #[error("cannot look at the recorder of {}: {}", path.display(), in_words(source))]
    Daemon {
        /// The folder of the history.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// Metrics cannot be asked for.
    #[error(transparent)]
    Metrics(#[from] MetricsError),
    /// There is no terminal for a view.
    #[error(
        "there is no terminal for the view ({source}): run it in a terminal, or trace without it"
    )]
    NoTerminal {
        /// The system's error.
        source: io::Error,
    },
    /// One output stream of a command leads to the terminal that the view needs.
    #[error(
        "the command's {on} is the terminal that the view needs, and its {off} is not: redirect {on} as well, or neither"
    )]
    HalfOnTerminal {
        /// The stream that leads to the terminal.
        on: &'static str,
        /// The other one.
        off: &'static str,
    },
    /// A program of an action is not installed.
    #[error(
        "there is no {program} beside tracer or in PATH: install it with the package of this version of tracer, or \
             build it with `cargo build --release --package {program}`"
    )]
    NoProgram {
        /// Its name.
        program: &'static str,
    },
    /// A program of an action cannot be started.
    #[error("cannot start {}: {source}", program.display())]
    Program {
        /// Its path.
        program: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// A thread, a helper process or the asynchronous runtime failed.
    #[error("tracer cannot go on: {}", start_in_words(source))]
    Runtime {
        /// The system's error.
        source: io::Error,
    },
}

impl AppError {
    /// Whether the command line is wrong on every machine. Otherwise this machine lacks or forbids what it asks for.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        match self {
            Self::Target(error) => error.is_usage(),
            Self::Launch(error) => error.is_usage(),
            Self::Scope(error) => error.is_usage(),
            Self::NothingCaptured { .. }
            | Self::RecordExists { .. }
            | Self::NoSuchRule { .. }
            | Self::NoReport
            | Self::NoTerminal { .. }
            | Self::HalfOnTerminal { .. } => true,
            _ => false,
        }
    }
}
