//! Everything that keeps a run from starting, as one sentence and an exit code.

use std::{io, path::PathBuf};

use tracer_core::recording::ReadError;
use tracer_loader::LoaderError;

use crate::{
    capture::folder::FolderError, doctor::EnvironmentError, launch::LaunchError,
    target::TargetError,
};

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// This machine does not allow a trace.
    #[error(transparent)]
    Environment(#[from] EnvironmentError),
    /// The target could not be found.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// The command could not be started.
    #[error(transparent)]
    Launch(#[from] LaunchError),
    /// The kernel refused.
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
    /// The report cannot be written.
    #[error("cannot write the report to {}: {source}", path.display())]
    Output {
        /// The file.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// A manager's log cannot be read.
    #[error("cannot read the worker log {}: {source}; name a file, or - for standard input", path.display())]
    WorkerLog {
        /// The file.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// The session cannot be recorded.
    #[error("cannot record to {}: {source}", path.display())]
    Record {
        /// The file.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// The folder for captured output, or for what was lost of it, cannot be used.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// Captured output cannot be stored or shown.
    #[error("cannot begin to capture: {source}")]
    Capture {
        /// The system's words.
        source: io::Error,
    },
    /// What a capture folder holds cannot be read.
    #[error("cannot read the capture {}: {source}", path.display())]
    Captured {
        /// The folder.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// There is nothing to recover from.
    #[error("{} is a recording without captured output: --recover needs the folder of a --capture", path.display())]
    NothingCaptured {
        /// The file.
        path: PathBuf,
    },
    /// There is no session in a file.
    #[error("cannot report {}: {source}", path.display())]
    Recording {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: ReadError,
    },
    /// The asynchronous runtime failed.
    #[error("cannot wait for events: {source}")]
    Runtime {
        /// The system's words.
        source: io::Error,
    },
}

impl AppError {
    /// Whether the command line is wrong on any machine; otherwise this machine lacks or forbids what it asks for.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        match self {
            Self::Target(error) => error.is_usage(),
            Self::Launch(error) => error.is_usage(),
            Self::NothingCaptured { .. } => true,
            _ => false,
        }
    }
}
