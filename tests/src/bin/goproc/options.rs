//! Command-line options.

use std::path::PathBuf;

use clap::Parser;
use tracer_tests::goproc::{Behaviour, LogFormat};

/// A process manager with faults, for tests.
#[derive(Debug, Parser)]
pub(crate) struct Options {
    /// Path of the account file.
    #[arg(long)]
    pub(crate) account: PathBuf,
    /// The behaviour.
    #[arg(long, default_value = "faithful")]
    pub(crate) behaviour: Behaviour,
    /// Number of bytes; its use depends on the behaviour.
    #[arg(long, default_value_t = 0)]
    pub(crate) bytes: usize,
    /// Path of the worker's log.
    #[arg(long)]
    pub(crate) log: Option<PathBuf>,
    /// Format of the worker's log.
    #[arg(long, default_value = "console")]
    pub(crate) log_format: LogFormat,
    /// The command line to run.
    #[arg(last = true, required = true)]
    pub(crate) argv: Vec<String>,
}
