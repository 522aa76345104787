//! A gate: a FIFO at which a program waits until tracer is attached.

use std::{
    env,
    fs::{File, OpenOptions},
    io::{Read, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use rustix::fs::{CWD, Mode, mkfifoat};

/// Environment variable with the path of the FIFO from which a workload reads a byte to start.
pub const GATE_ENV: &str = "WORKLOAD_GO";

/// The test's side of a gate.
#[derive(Debug)]
pub struct Gate {
    path: PathBuf,
    // Also open for reading, so that no open of the FIFO blocks.
    fifo: File,
}

impl Gate {
    /// Creates a closed gate in `directory`.
    pub fn create(directory: &Path) -> Result<Self> {
        let path = directory.join("go");
        mkfifoat(CWD, &path, Mode::RUSR | Mode::WUSR)
            .with_context(|| format!("cannot create the FIFO {}", path.display()))?;
        let fifo = OpenOptions::new().read(true).write(true).open(&path)?;
        Ok(Self { path, fifo })
    }

    /// The path of the FIFO.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Lets a workload continue.
    pub fn open(&mut self) -> Result<()> {
        self.fifo.write_all(b"g").context("cannot open the gate")
    }

    /// Lets a shell continue that waits in `read`.
    pub fn open_line(&mut self) -> Result<()> {
        self.fifo.write_all(b"\n").context("cannot open the gate")
    }
}

/// Waits at the gate that [`GATE_ENV`] names, if it is set. For workloads.
pub fn wait() -> Result<()> {
    let Some(path) = env::var_os(GATE_ENV) else { return Ok(()) };
    let mut byte = [0];
    File::open(&path)
        .and_then(|mut fifo| fifo.read_exact(&mut byte))
        .with_context(|| format!("cannot wait at {}", PathBuf::from(&path).display()))
}
