//! A shell that waits until the tracer is attached and then runs one line: for what people type.

use std::{
    fs::{self, File},
    os::fd::OwnedFd,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::{
    deadline::OwnedChild,
    gate::Gate,
    reader::{Pace, Reader},
    tracer::{Outcome, Tracer},
};

/// A shell at its gate.
#[derive(Debug)]
pub struct Gated {
    child: OwnedChild,
    // Keeps the FIFO open, so that neither side waits for the other to open it.
    gate: Gate,
    stdout: Option<Reader>,
    directory: TempDir,
}

impl Gated {
    /// Starts `sh` for this line, with a pipe as stdout that is read at once.
    pub fn piped(line: &str) -> Result<Self> {
        let mut gated = Self::start(line, Stdio::piped())?;
        let stdout = gated.child.inner().stdout.take().context("stdout was piped")?;
        gated.stdout = Some(Reader::spawn(stdout.into(), Pace::Free));
        Ok(gated)
    }

    /// The same with this as stdout.
    pub fn onto(line: &str, stdout: OwnedFd) -> Result<Self> {
        Self::start(line, stdout.into())
    }

    fn start(line: &str, stdout: Stdio) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let gate = Gate::create(directory.path())?;
        let mut command = Command::new("sh");
        command
            .args(["-c", &format!("read go < \"$0\"; {line}")])
            .arg(gate.path())
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(File::create(directory.path().join("stderr"))?);
        let child = OwnedChild::spawn(&mut command, line)?;
        Ok(Self { child, gate, stdout: None, directory })
    }

    /// The shell's pid, which a line that begins with `exec` hands on.
    pub fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// A folder that lasts as long as this.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Traces it from its gate to its end.
    pub fn trace(&mut self, tracer: Tracer) -> Result<Outcome> {
        let tracer = tracer.start()?;
        self.run()?;
        tracer.finish()
    }

    /// The same for a target that does not end by itself, because it may get members again.
    pub fn trace_and_stop(&mut self, tracer: Tracer) -> Result<Outcome> {
        let tracer = tracer.start()?;
        self.run()?;
        tracer.interrupt()?;
        tracer.finish()
    }

    fn run(&mut self) -> Result<()> {
        fs::write(self.gate.path(), "\n")?;
        self.child.wait()?;
        if let Some(reader) = self.stdout.take() {
            reader.finish()?;
        }
        Ok(())
    }
}
