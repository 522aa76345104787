//! Runs a workload with the outputs it needs and collects its truth and what arrived.

use std::{
    env, fs,
    path::PathBuf,
    process::{Command, ExitStatus, Stdio},
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

/// The exit code of a workload whose subject this kernel does not offer.
pub const SKIPPED: i32 = 77;

/// A binary of this package, found beside the running test.
pub fn sibling_binary(name: &str) -> Result<PathBuf> {
    let test = env::current_exe()?;
    let path = test
        .ancestors()
        .skip(1)
        .take(2)
        .map(|directory| directory.join(name))
        .find(|path| path.is_file());
    path.with_context(|| format!("no `{name}` beside {}", test.display()))
}

/// A workload to be started.
#[derive(Clone, Debug)]
pub struct Workload {
    words: Vec<String>,
    kind: Kind,
    pace: Pace,
    gated: bool,
    one_object: bool,
}

impl Workload {
    /// A workload by its name, with pipes that are read at once and no gate.
    pub fn new(name: &str) -> Self {
        Self {
            words: vec![name.to_owned()],
            kind: Kind::Pipe,
            pace: Pace::Free,
            gated: false,
            one_object: false,
        }
    }

    /// Adds an argument.
    pub fn arg(mut self, word: &str) -> Self {
        self.words.push(word.to_owned());
        self
    }

    /// What stands behind fd 1 and fd 2.
    pub fn on(mut self, kind: Kind) -> Self {
        self.kind = kind;
        self
    }

    /// Nobody reads before the workload's end, or [`RunningWorkload::release_readers`].
    pub fn unread(mut self) -> Self {
        self.pace = Pace::Held;
        self
    }

    /// It waits for [`RunningWorkload::open_gate`].
    pub fn gated(mut self) -> Self {
        self.gated = true;
        self
    }

    /// fd 1 and fd 2 are the same object, as after `2>&1`.
    pub fn on_one_object(mut self) -> Self {
        self.one_object = true;
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

        let truth = directory.path().join("truth.jsonl");
        let mut command = Command::new(sibling_binary("workload")?);
        command
            .args(&self.words)
            .env(TRUTH_ENV, &truth)
            .env_remove(GATE_ENV)
            .stdin(Stdio::null())
            .stdout(out_end)
            .stderr(second);
        let gate = if self.gated { Some(Gate::create(directory.path())?) } else { None };
        if let Some(gate) = &gate {
            command.env(GATE_ENV, gate.path());
        }
        let child = OwnedChild::spawn(&mut command, &format!("workload {}", self.words()))?;
        // `command` holds the outputs' ends: the readers see no end of file until it is gone.
        drop(command);
        Ok(RunningWorkload { child, gate, sinks: [out_sink, err_sink], objects, truth, directory })
    }

    /// Runs it from start to end, with nobody watching.
    pub fn run(&self) -> Result<Finished> {
        self.spawn()?.finish()
    }
}

/// A workload at work.
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

    /// Lets it begin.
    pub fn open_gate(&mut self) -> Result<()> {
        self.gate.as_mut().context("this workload has no gate")?.open()
    }

    /// Lets held readers read.
    pub fn release_readers(&mut self) {
        self.sinks.iter_mut().for_each(Sink::release);
    }

    /// What its fd 1 and fd 2 refer to.
    pub fn objects(&self) -> &[String; 2] {
        &self.objects
    }

    /// What it has written down so far; an error as long as that is nothing.
    pub fn truth_so_far(&self) -> Result<Truth> {
        Truth::load(&self.truth)
    }

    /// Waits for the end of its first process and of everything that holds its outputs.
    pub fn finish(mut self) -> Result<Finished> {
        let status = self.child.wait()?;
        self.release_readers();
        let [stdout, stderr] = self.sinks;
        let stdout = stdout.finish()?;
        let stderr = stderr.finish()?;
        // With one object for both, the second sink never had a writer.
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

/// A workload that has ended.
#[derive(Debug)]
pub struct Finished {
    /// The pid of its first process.
    pub pid: u32,
    /// How that ended.
    pub status: ExitStatus,
    /// What it counted.
    pub truth: Truth,
    /// What came out of fd 1 and fd 2; `None` where nothing can.
    pub received: [Option<Received>; 2],
    /// What fd 1 and fd 2 referred to.
    pub objects: [String; 2],
    /// Why it did nothing, if this kernel does not offer its subject.
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

    /// Compares what the workload counted with what truly arrived.
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
