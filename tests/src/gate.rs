//! A gate: a FIFO at which a program waits until tracer is attached.

use std::{
    env,
    ffi::OsStr,
    fs::{File, OpenOptions},
    io::{Read, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result};
use rustix::fs::{CWD, Mode, mkfifoat};
use tempfile::TempDir;

use crate::fexit::Polled;

/// Environment variable with the path of the FIFO from which a workload reads a byte to start.
pub const GATE_ENV: &str = "WORKLOAD_GO";

/// The test's side of a gate.
#[derive(Debug)]
pub struct Gate {
    path: PathBuf,
    _directory: TempDir,
    // Also open for reading, so that no open of the FIFO blocks.
    fifo: File,
}

impl Gate {
    /// Creates a closed gate in a new directory.
    pub fn create() -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("go");
        mkfifoat(CWD, &path, Mode::RUSR | Mode::WUSR)
            .with_context(|| format!("cannot create the FIFO {}", path.display()))?;
        let fifo = OpenOptions::new().read(true).write(true).open(&path)?;
        Ok(Self { path, _directory: directory, fifo })
    }

    /// The path of the FIFO.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A shell that waits at this gate and then executes `argv` in its own process. Its stdin is
    /// `/dev/null`.
    pub fn command(&self, argv: impl IntoIterator<Item: AsRef<OsStr>>) -> Command {
        let mut shell = Command::new("sh");
        shell.args(["-c", "read go < \"$0\"; exec \"$@\""]).arg(&self.path).args(argv);
        shell.stdin(Stdio::null());
        shell
    }

    /// Lets one process continue that reads a byte or a line from the FIFO.
    pub fn open(&mut self) -> Result<()> {
        self.fifo.write_all(b"\n").context("cannot open the gate")
    }
}

/// Waits at the gate that [`GATE_ENV`] names, if it is set. For workloads.
pub fn wait() -> Result<()> {
    let Some(path) = env::var_os(GATE_ENV) else { return Ok(()) };
    let mut byte = [0];
    File::open(&path)
        .and_then(|fifo| Polled::with_fexit(fifo).read_exact(&mut byte))
        .with_context(|| format!("cannot wait at {}", PathBuf::from(&path).display()))
}
