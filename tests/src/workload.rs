//! Runs a workload with the outputs it needs; collects its truth and the bytes that arrived.

use std::{
    env, fs,
    os::fd::OwnedFd,
    path::PathBuf,
    process::{Command, ExitStatus, Stdio},
    sync::Arc,
};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::{
    deadline::{OwnedChild, describe},
    gate::{GATE_ENV, Gate},
    reader::{Pace, Received},
    stdio::{Kind, Output, Sink},
    truth::{TRUTH_ENV, Truth},
};

/// Exit code of a workload that needs a feature this kernel lacks.
pub const SKIPPED: i32 = 77;

/// Path of a binary of this package, next to the running test.
pub fn sibling_binary(name: &str) -> Result<String> {
    let test = env::current_exe()?;
    let path = test
        .ancestors()
        .skip(1)
        .take(2)
        .map(|directory| directory.join(name))
        .find(|path| path.is_file());
    let path = path.with_context(|| format!("no `{name}` next to {}", test.display()))?;
    path.into_os_string().into_string().ok().context("a path of this build is not UTF-8")
}

/// Configuration of a workload.
#[derive(Clone, Debug)]
pub struct Workload {
    words: Vec<String>,
    kind: Kind,
    pace: Pace,
    gated: bool,
    one_object: bool,
    stdin: Option<Arc<OwnedFd>>,
}

impl Workload {
    /// The workload of this name, without a gate, writing to pipes that are read at once.
    pub fn new(name: &str) -> Self {
        Self {
            words: vec![name.to_owned()],
            kind: Kind::Pipe,
            pace: Pace::Free,
            gated: false,
            one_object: false,
            stdin: None,
        }
    }

    /// Adds an argument.
    pub fn arg(mut self, word: &str) -> Self {
        self.words.push(word.to_owned());
        self
    }

    /// Sets the kind of fd 1 and fd 2.
    pub fn on(mut self, kind: Kind) -> Self {
        self.kind = kind;
        self
    }

    /// Delays the readers until the workload ends or [`RunningWorkload::release_readers`] is called.
    pub fn unread(mut self) -> Self {
        self.pace = Pace::Held;
        self
    }

    /// Makes it wait for [`RunningWorkload::open_gate`].
    pub fn gated(mut self) -> Self {
        self.gated = true;
        self
    }

    /// Makes fd 1 and fd 2 the same object, as `2>&1` does.
    pub fn on_one_object(mut self) -> Self {
        self.one_object = true;
        self
    }

    /// Gives it this stdin. Otherwise that is `/dev/null`.
    pub fn reading(mut self, stdin: impl Into<OwnedFd>) -> Self {
        self.stdin = Some(Arc::new(stdin.into()));
        self
    }

    /// Its command line, for messages.
    pub fn words(&self) -> String {
        self.words.join(" ")
    }

    /// The kind of its outputs.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Starts it.
    pub fn spawn(&self) -> Result<RunningWorkload> {
        let directory = tempfile::tempdir()?;
        let stdout = Output::create(self.kind, self.pace, directory.path(), "stdout")?;
        let stderr = Output::create(self.kind, self.pace, directory.path(), "stderr")?;
        let objects = if self.one_object {
            [stdout.object.clone(), stdout.object.clone()]
        } else {
            [stdout.object.clone(), stderr.object.clone()]
        };
        let (out_end, out_sink) = stdout.split();
        let (err_end, err_sink) = stderr.split();
        let second = if self.one_object { out_end.try_clone()? } else { err_end };

        let stdin = match &self.stdin {
            Some(fd) => fd.try_clone()?.into(),
            None => Stdio::null(),
        };
        let truth = directory.path().join("truth.jsonl");
        let mut command = Command::new(sibling_binary("workload")?);
        command
            .args(&self.words)
            .env(TRUTH_ENV, &truth)
            .env_remove(GATE_ENV)
            .stdin(stdin)
            .stdout(out_end)
            .stderr(second);
        let gate = if self.gated { Some(Gate::create()?) } else { None };
        if let Some(gate) = &gate {
            command.env(GATE_ENV, gate.path());
        }
        let child = OwnedChild::spawn(&mut command, &format!("workload {}", self.words()))?;
        // `command` holds the write ends, and the readers wait for their last close.
        drop(command);
        Ok(RunningWorkload { child, gate, sinks: [out_sink, err_sink], objects, truth, directory })
    }

    /// Runs it to its end without a tracer.
    pub fn run(&self) -> Result<Finished> {
        self.spawn()?.finish()
    }
}

/// A running workload.
#[derive(Debug)]
pub struct RunningWorkload {
    child: OwnedChild,
    gate: Option<Gate>,
    sinks: [Sink; 2],
    objects: [String; 2],
    truth: PathBuf,
    directory: TempDir,
}

impl RunningWorkload {
    /// The pid of its first process.
    pub fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// Lets the workload start.
    pub fn open_gate(&mut self) -> Result<()> {
        self.gate.as_mut().context("this workload has no gate")?.open()
    }

    /// Starts held readers.
    pub fn release_readers(&mut self) {
        self.sinks.iter_mut().for_each(Sink::release);
    }

    /// Names of the objects behind its fd 1 and fd 2.
    pub fn objects(&self) -> &[String; 2] {
        &self.objects
    }

    /// The truth file so far; fails while it is empty.
    pub fn truth_so_far(&self) -> Result<Truth> {
        Truth::load(&self.truth)
    }

    /// Waits for the end of its first process and of all processes that have its outputs open.
    pub fn finish(mut self) -> Result<Finished> {
        let status = self.child.wait()?;
        self.release_readers();
        let [stdout, stderr] = self.sinks;
        let stdout = stdout.finish()?;
        let stderr = stderr.finish()?;
        // If both fds share one object, the second sink has no writer.
        let received = [stdout, stderr.filter(|_| self.objects[0] != self.objects[1])];
        if status.code() == Some(SKIPPED) {
            let reason = fs::read_to_string(&self.truth).unwrap_or_default();
            return Ok(Finished::skipped(self.child.pid(), status, reason));
        }
        let truth = Truth::load(&self.truth)?;
        ensure!(status.success(), "the workload ended with {}", describe(status));
        drop(self.directory);
        Ok(Finished {
            pid: self.child.pid(),
            status,
            truth,
            received,
            objects: self.objects,
            skipped: None,
        })
    }
}

/// The results of a workload.
#[derive(Debug)]
pub struct Finished {
    /// The pid of its first process.
    pub pid: u32,
    /// Exit status of that process.
    pub status: ExitStatus,
    /// The workload's counts.
    pub truth: Truth,
    /// The bytes read from fd 1 and fd 2; `None` where nothing can be read.
    pub received: [Option<Received>; 2],
    /// Names of the objects behind fd 1 and fd 2.
    pub objects: [String; 2],
    /// Why it did nothing, if the kernel lacks a feature.
    pub skipped: Option<String>,
}

impl Finished {
    fn skipped(pid: u32, status: ExitStatus, reason: String) -> Self {
        Self {
            pid,
            status,
            truth: Truth::default(),
            received: [None, None],
            objects: [String::new(), String::new()],
            skipped: Some(reason),
        }
    }

    /// The bytes read from fd 1.
    pub fn stdout(&self) -> Result<&[u8]> {
        let received = self.received[0].as_ref();
        Ok(&received.context("stdout cannot be read")?.bytes)
    }

    /// Compares the workload's counts with the bytes that arrived.
    pub fn check_arrival(&self) -> Result<()> {
        for (object, received) in self.objects.iter().zip(&self.received) {
            let Some(received) = received else { continue };
            let counted = self.truth.written_to(object);
            ensure!(
                counted == received.len(),
                "{object}: the workload counted {counted} bytes, {} arrived",
                received.len()
            );
        }
        Ok(())
    }
}
