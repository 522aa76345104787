//! The gate: a workload waits at a FIFO until the tracer is attached.

use std::{
    env,
    fs::{File, OpenOptions},
    io::{Read, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use rustix::fs::{CWD, Mode, mkfifoat};

/// Names the FIFO a workload reads one byte from before it starts.
pub const GATE_ENV: &str = "WORKLOAD_GO";

/// The harness's end of a gate.
#[derive(Debug)]
pub struct Gate {
    path: PathBuf,
    // Open for reading too: so opening never blocks, on either side, in any order.
    fifo: File,
}

impl Gate {
    /// Makes a closed gate in `directory`.
    pub fn create(directory: &Path) -> Result<Self> {
        let path = directory.join("go");
        mkfifoat(CWD, &path, Mode::RUSR | Mode::WUSR)
            .with_context(|| format!("cannot make the FIFO {}", path.display()))?;
        let fifo = OpenOptions::new().read(true).write(true).open(&path)?;
        Ok(Self { path, fifo })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Lets the workload go on.
    pub fn open(&mut self) -> Result<()> {
        self.fifo.write_all(b"g").context("cannot open the gate")
    }

    /// Lets a shell go on that waits in `read`.
    pub fn open_line(&mut self) -> Result<()> {
        self.fifo.write_all(b"\n").context("cannot open the gate")
    }
}

/// Workload side: waits at the gate if the environment names one.
pub fn wait() -> Result<()> {
    let Some(path) = env::var_os(GATE_ENV) else { return Ok(()) };
    let mut byte = [0];
    File::open(&path)
        .and_then(|mut fifo| fifo.read_exact(&mut byte))
        .with_context(|| format!("cannot wait at {}", PathBuf::from(&path).display()))
}
