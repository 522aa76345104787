//! Runs a program with and without tracer and compares all that its reader and parent can observe.

use std::{
    fs,
    os::{fd::OwnedFd, unix::process::ExitStatusExt as _},
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
};

use anyhow::{Context, Result, ensure};
use rustix::pipe::{PipeFlags, pipe_with};
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    deadline::{DEADLINE, OwnedChild},
    gate::Gate,
    reader::{Pace, Reader},
    tracer::{Tracer, binary, check_status},
};

/// A program and the directory it runs in. The path stays the same, because outputs contain it.
#[derive(Debug)]
pub struct Subject {
    argv: Vec<String>,
    directory: TempDir,
}

/// How stdout and stderr are connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Streams {
    /// A pipe for each.
    Apart,
    /// One pipe for both, which keeps the order of the writes.
    Together,
}

/// What a reader and a parent can observe of a run.
#[derive(Clone, PartialEq, Eq)]
pub struct Observed {
    /// The bytes of stdout, or of the shared pipe.
    pub stdout: Vec<u8>,
    /// The bytes of stderr.
    pub stderr: Vec<u8>,
    /// The exit code.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
}

/// A subject that waits at its gate.
struct Waiting {
    child: OwnedChild,
    gate: Gate,
    readers: Vec<Reader>,
}

impl Subject {
    /// A program with its arguments.
    pub fn new(argv: &[&str]) -> Result<Self> {
        let argv = argv.iter().map(|word| (*word).to_owned()).collect();
        Ok(Self { argv, directory: tempfile::tempdir()? })
    }

    /// A script in `tests/corpus` and its interpreter.
    pub fn of_corpus(interpreter: &str, script: &str) -> Result<Self> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(script);
        Self::new(&[interpreter, &path.display().to_string()])
    }

    /// Runs it without a tracer.
    pub fn untraced(&self, streams: Streams) -> Result<Observed> {
        let mut waiting = self.wait(streams)?;
        waiting.gate.open()?;
        waiting.finish()
    }

    /// Runs it as tracer's command. `-o` and `-q` keep tracer's own output out of both streams.
    pub fn as_command(&self, streams: Streams, options: &[&str]) -> Result<Observed> {
        let report = self.directory.path().join("report.json");
        let mut command = Command::new(binary()?);
        command.args(["-q", "--format", "json", "-o"]).arg(&report).args(options).arg("--");
        command.args(&self.argv).current_dir(self.fresh_directory()?).stdin(Stdio::null());
        let readers = connect(&mut command, streams)?;
        let mut child = OwnedChild::spawn(&mut command, &self.words())?;
        drop(command);
        let status = child.wait()?;
        check_status(status).with_context(|| self.words())?;
        let report: Value = serde_json::from_str(&fs::read_to_string(&report)?)?;
        let (code, signal) = exit_of_command(&report).context("no exit status of the command")?;
        Observed::read(readers, code, signal)
    }

    fn words(&self) -> String {
        self.argv.join(" ")
    }

    fn fresh_directory(&self) -> Result<PathBuf> {
        let directory = self.directory.path().join("work");
        if directory.exists() {
            fs::remove_dir_all(&directory)?;
        }
        fs::create_dir(&directory)?;
        Ok(directory)
    }

    fn wait(&self, streams: Streams) -> Result<Waiting> {
        let gate = Gate::create()?;
        let mut command = gate.command(&self.argv);
        command.current_dir(self.fresh_directory()?);
        let readers = connect(&mut command, streams)?;
        let child = OwnedChild::spawn(&mut command, &self.words())?;
        Ok(Waiting { child, gate, readers })
    }
}

impl Waiting {
    fn finish(mut self) -> Result<Observed> {
        let status = self.child.wait()?;
        Observed::of(self.readers, status)
    }
}

/// Runs several subjects under one tracer that attaches to their pids.
pub fn by_pid(
    subjects: &[(&Subject, Streams)],
    adjust: impl Fn(Tracer) -> Tracer,
) -> Result<Vec<Observed>> {
    let mut waiting = Vec::new();
    let mut tracer = Tracer::default();
    for (subject, streams) in subjects {
        let one = subject.wait(*streams)?;
        tracer = tracer.arg("--pid").arg(one.child.pid().to_string());
        waiting.push(one);
    }
    let tracer = adjust(tracer).start()?;
    let mut observed = Vec::new();
    for mut one in waiting {
        one.gate.open()?;
        observed.push(one.finish()?);
    }
    crate::expect::no_losses(&tracer.finish_within(*DEADLINE)?.report()?)?;
    Ok(observed)
}

/// Connects the streams of a command to pipes; returns the readers.
fn connect(command: &mut Command, streams: Streams) -> Result<Vec<Reader>> {
    let pipe = || -> Result<(Reader, OwnedFd)> {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
        Ok((Reader::spawn(read, Pace::Free), write))
    };
    let (reader, stdout) = pipe()?;
    let mut readers = vec![reader];
    let stderr = match streams {
        Streams::Together => stdout.try_clone()?,
        Streams::Apart => {
            let (reader, stderr) = pipe()?;
            readers.push(reader);
            stderr
        }
    };
    command.stdout(stdout).stderr(stderr);
    Ok(readers)
}

/// Exit code and signal of the process that tracer started, from the report.
fn exit_of_command(report: &Value) -> Option<(Option<i32>, Option<i32>)> {
    let pid = report.get("target")?.get("pids")?.get(0)?;
    let mut processes = report.get("processes")?.as_array()?.iter();
    let exit = processes.find(|process| process.get("pid") == Some(pid))?.get("exit")?;
    let number =
        |name| exit.get(name).and_then(Value::as_i64).and_then(|it| i32::try_from(it).ok());
    Some((number("code"), number("signal")))
}

impl Observed {
    fn of(readers: Vec<Reader>, status: ExitStatus) -> Result<Self> {
        Self::read(readers, status.code(), status.signal())
    }

    fn read(readers: Vec<Reader>, code: Option<i32>, signal: Option<i32>) -> Result<Self> {
        let mut received = Vec::new();
        for reader in readers {
            received.push(reader.finish()?.bytes);
        }
        let mut received = received.into_iter();
        let mut next = || received.next().unwrap_or_default();
        Ok(Self { stdout: next(), stderr: next(), code, signal })
    }

    /// Fails with the first difference unless both runs are the same.
    pub fn check_same(&self, other: &Self) -> Result<()> {
        for (name, own, others) in
            [("stdout", &self.stdout, &other.stdout), ("stderr", &self.stderr, &other.stderr)]
        {
            let differs = || own.iter().zip(others).position(|(a, b)| a != b);
            if own != others {
                let at = differs().unwrap_or(own.len().min(others.len()));
                let around = |bytes: &[u8]| {
                    let text = bytes.get(at.saturating_sub(60)..).unwrap_or_default();
                    String::from_utf8_lossy(&text[..text.len().min(120)]).into_owned()
                };
                let (is, was) = (around(own), around(others));
                anyhow::bail!("{name} differs at byte {at}: {is:?}, untraced {was:?}");
            }
        }
        let (is, was) = ((self.code, self.signal), (other.code, other.signal));
        ensure!(is == was, "it ended with {is:?}, untraced {was:?}");
        Ok(())
    }
}
