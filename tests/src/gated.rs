//! A shell that waits until tracer is attached, then runs one command line.

use std::{
    fs::File,
    os::fd::OwnedFd,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::Result;
use tempfile::TempDir;

use crate::{
    deadline::OwnedChild,
    gate::Gate,
    reader::Reader,
    tracer::{Outcome, Tracer},
};

/// A shell that waits at its gate.
#[derive(Debug)]
pub struct Gated {
    child: OwnedChild,
    // Kept so that the FIFO stays open and neither side blocks in `open`.
    gate: Gate,
    stdout: Option<Reader>,
    directory: TempDir,
}

impl Gated {
    /// Starts `sh` for this line. Its stdout is a pipe that a thread reads.
    pub fn piped(line: &str) -> Result<Self> {
        let mut gated = Self::start(line, Stdio::piped())?;
        gated.stdout = Some(Reader::of_stdout(&mut gated.child)?);
        Ok(gated)
    }

    /// Starts `sh` for this line with this stdout.
    pub fn onto(line: &str, stdout: OwnedFd) -> Result<Self> {
        Self::start(line, stdout.into())
    }

    fn start(line: &str, stdout: Stdio) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let gate = Gate::create()?;
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

    /// The shell's pid. A program started by `exec` in the line has it too.
    pub fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// A directory that is removed with this shell.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Traces the shell from its gate until tracer ends.
    pub fn trace(&mut self, tracer: Tracer) -> Result<Outcome> {
        let tracer = tracer.start()?;
        self.run()?;
        tracer.finish()
    }

    /// Traces the shell, then interrupts tracer: a cgroup can get new members, so its trace never ends.
    pub fn trace_and_stop(&mut self, tracer: Tracer) -> Result<Outcome> {
        let tracer = tracer.start()?;
        self.run()?;
        tracer.interrupt()?;
        tracer.finish()
    }

    /// Opens the gate and waits until the shell has ended.
    pub fn run(&mut self) -> Result<()> {
        self.gate.open()?;
        self.child.wait()?;
        if let Some(reader) = self.stdout.take() {
            reader.finish()?;
        }
        Ok(())
    }
}
