//! Runs a program with its output captured; it starts when tracer is attached.

use std::{
    ffi::OsString,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::{
    capture::Capture,
    deadline::{DEADLINE, OwnedChild},
    expect,
    gate::Gate,
    procfs::target_of,
    reader::Reader,
    report::Report,
    tracer::Tracer,
};

/// Configuration of a program and its trace.
#[derive(Debug)]
pub struct Program {
    argv: Vec<OsString>,
    variables: Vec<(String, String)>,
    arguments: Vec<String>,
    limit: Duration,
}

/// A program that has run with its output captured.
#[derive(Debug)]
pub struct Captured {
    /// Its pid.
    pub pid: u32,
    /// How it ended.
    pub status: ExitStatus,
    /// Names of its stdout and stderr, as in the report.
    pub objects: [String; 2],
    /// What was read from its stdout and stderr.
    pub received: [Vec<u8>; 2],
    /// The capture.
    pub capture: Capture,
    /// Tracer's report.
    pub report: Report,
    /// Parent directory of the capture; removed when dropped.
    pub parent: TempDir,
}

impl Program {
    /// A program with its arguments.
    pub fn new(argv: &[&str]) -> Self {
        let argv = argv.iter().map(OsString::from).collect();
        Self { argv, variables: Vec::new(), arguments: Vec::new(), limit: *DEADLINE }
    }

    /// Sets an environment variable.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Adds arguments of tracer.
    pub fn tracer_args<const N: usize>(mut self, arguments: [&str; N]) -> Self {
        self.arguments.extend(arguments.map(str::to_owned));
        self
    }

    /// Sets the time limit.
    pub fn within(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Runs the program to its end with its output captured.
    pub fn capture(self) -> Result<Captured> {
        let parent = tempfile::tempdir()?;
        let directory = parent.path().join("out");
        let mut gate = Gate::create()?;
        let mut child = self.spawn(&gate)?;
        let objects = [target_of(child.pid(), 1)?, target_of(child.pid(), 2)?];
        let (stdout, stderr) = (Reader::of_stdout(&mut child)?, Reader::of_stderr(&mut child)?);
        let tracer = Tracer::on_pid(child.pid()).arg("--capture").arg(&directory);
        let tracer = tracer.args(&self.arguments).start()?;
        gate.open()?;
        let status = child.wait_for(self.limit)?;
        let outcome = tracer.finish_within(self.limit)?;
        let received = [stdout.finish()?.bytes, stderr.finish()?.bytes];
        let report = outcome.report()?;
        let capture = Capture::load(&directory)
            .with_context(|| format!("{:?}; stderr of tracer: {}", self.argv, outcome.stderr))?;
        capture.check_report(&report)?;
        Ok(Captured { pid: child.pid(), status, objects, received, capture, report, parent })
    }

    fn spawn(&self, gate: &Gate) -> Result<OwnedChild> {
        let mut command = gate.command(&self.argv);
        command
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        OwnedChild::spawn(&mut command, &format!("{:?}", self.argv))
    }
}

impl Captured {
    /// Checks that the capture has exactly the bytes that were read, in order, and that tracer lost
    /// nothing.
    pub fn check(&self) -> Result<()> {
        self.check_complete()?;
        for (object, received) in self.objects.iter().zip(&self.received) {
            let captured = self.capture.written_to(&self.report, object)?;
            let [read, kept] =
                [received, &captured].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
            ensure!(captured == *received, "{object}: read {read:?}, captured {kept:?}");
        }
        Ok(())
    }

    /// Like [`Self::check`], for concurrent writers: only the order within each process must match.
    pub fn check_merged(&self) -> Result<()> {
        self.check_complete()?;
        for (object, received) in self.objects.iter().zip(&self.received) {
            let is_merged = self.capture.is_merged_to(&self.report, object, received)?;
            let read = String::from_utf8_lossy(received);
            ensure!(is_merged, "{object}: read {read:?}, which is no merge of the captured writes");
        }
        Ok(())
    }

    fn check_complete(&self) -> Result<()> {
        expect::no_losses(&self.report)?;
        self.capture.is_complete()
    }
}
