//! Any program, started when the tracer is attached, with both streams read and captured.

use std::{
    ffi::OsString,
    path::Path,
    process::{Command, ExitStatus, Stdio},
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
    reader::{Pace, Reader},
    report::Report,
    tracer::Tracer,
};

/// A program to be started.
#[derive(Debug)]
pub struct Program {
    argv: Vec<OsString>,
    variables: Vec<(String, String)>,
    arguments: Vec<String>,
    limit: Duration,
}

/// A program that was captured.
#[derive(Debug)]
pub struct Captured {
    /// Its pid.
    pub pid: u32,
    /// How it ended.
    pub status: ExitStatus,
    /// What its stdout and stderr are, as the report words it.
    pub objects: [String; 2],
    /// What the readers got.
    pub received: [Vec<u8>; 2],
    /// What the tracer captured.
    pub capture: Capture,
    /// Its report.
    pub report: Report,
    /// Where the capture is; gone with this.
    pub parent: TempDir,
}

impl Program {
    /// A program with its arguments.
    pub fn new(argv: &[&str]) -> Self {
        let argv = argv.iter().map(OsString::from).collect();
        Self { argv, variables: Vec::new(), arguments: Vec::new(), limit: *DEADLINE }
    }

    /// Sets a variable.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The tracer gets these arguments as well.
    pub fn tracer_args<const N: usize>(mut self, arguments: [&str; N]) -> Self {
        self.arguments.extend(arguments.map(str::to_owned));
        self
    }

    /// It may take this long.
    pub fn within(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Runs it to its end with its output captured.
    pub fn capture(self) -> Result<Captured> {
        let parent = tempfile::tempdir()?;
        let directory = parent.path().join("out");
        let mut gate = Gate::create(parent.path())?;
        let mut child = self.spawn(gate.path())?;
        let ends = (child.inner().stdout.take(), child.inner().stderr.take());
        let objects = [1, 2].map(|fd| target_of(child.pid(), fd));
        let (stdout, stderr) = (ends.0.context("piped")?, ends.1.context("piped")?);
        let readers = [stdout.into(), stderr.into()].map(|end| Reader::spawn(end, Pace::Free));
        let tracer = Tracer::on_pid(child.pid()).arg("--capture").arg(&directory);
        let tracer = self.arguments.iter().fold(tracer, Tracer::arg).start()?;
        gate.open_line()?;
        let status = child.wait_for(self.limit)?;
        let outcome = tracer.finish_within(self.limit)?;
        let [stdout, stderr] = readers.map(Reader::finish);
        let [out, err] = objects;
        let report = outcome.report()?;
        let capture = Capture::load(&directory)
            .with_context(|| format!("{:?}; the tracer said: {}", self.argv, outcome.stderr))?;
        capture.check_report(&report)?;
        Ok(Captured {
            pid: child.pid(),
            status,
            objects: [out?, err?],
            received: [stdout?.bytes, stderr?.bytes],
            capture,
            report,
            parent,
        })
    }

    fn spawn(&self, gate: &Path) -> Result<OwnedChild> {
        let mut command = Command::new("sh");
        command
            .args(["-c", "read go < \"$0\"; exec \"$@\""])
            .arg(gate)
            .args(&self.argv)
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        OwnedChild::spawn(&mut command, &format!("{:?}", self.argv))
    }
}

impl Captured {
    /// What was read from each stream is what was captured, byte for byte and in its order, and the
    /// tracer lost nothing.
    pub fn check(&self) -> Result<()> {
        self.check_complete()?;
        for (object, received) in self.objects.iter().zip(&self.received) {
            let captured = self.capture.written_to(&self.report, object)?;
            let [was, is] =
                [received, &captured].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
            ensure!(captured == *received, "{object}: read was {was:?}, captured is {is:?}");
        }
        Ok(())
    }

    /// The same for several processes that write at the same time, where only the order of each one is known.
    pub fn check_merged(&self) -> Result<()> {
        self.check_complete()?;
        for (object, received) in self.objects.iter().zip(&self.received) {
            let is_merged = self.capture.is_merged_to(&self.report, object, received)?;
            let was = String::from_utf8_lossy(received);
            ensure!(is_merged, "{object}: read was {was:?}, the captured writes do not give that");
        }
        Ok(())
    }

    fn check_complete(&self) -> Result<()> {
        expect::no_losses(&self.report)?;
        self.capture.is_complete()
    }
}
