//! Jobs for an always-on recorder: the program `jobs` is a manager that starts them in a cgroup, reads their output, and
//! knows what became of each byte.

use std::{
    io::Write as _,
    ops::AddAssign,
    path::Path,
    process::{ChildStdin, Command, Stdio},
    sync::mpsc::Receiver,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::{
    deadline::{DEADLINE, OwnedChild, patient},
    tracer::lines,
};

/// A way in which output does not arrive, or in which it seems so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    /// The name of the program (`comm`).
    pub name: &'static str,
    /// The rule that explains it.
    pub rule: &'static str,
    /// Whether it is a loss.
    pub is_lost: bool,
}

const fn kind(name: &'static str, rule: &'static str, is_lost: bool) -> Kind {
    Kind { name, rule, is_lost }
}

/// All of them, in the order in which they are planted.
pub const KINDS: [Kind; 12] = [
    kind("job-unread", "unread", true),
    kind("job-gone", "reader_gone", true),
    kind("job-sigpipe", "reader_gone", true),
    kind("job-full", "refused", true),
    kind("job-eagain", "refused", true),
    kind("job-stderr", "other_stream", false),
    kind("job-null", "discarded", true),
    kind("job-closed", "refused", true),
    kind("job-removed", "file_lost", true),
    kind("job-cut", "file_lost", true),
    kind("job-killed", "unflushed", true),
    kind("job-late", "late_writer", false),
];

/// A job whose output was to be lost, or to seem so.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Planted {
    /// The name of its kind.
    pub kind: String,
    /// Its pid.
    pub pid: u32,
    /// When it had ended, microseconds since 1970.
    pub ended_us: i64,
}

/// What the jobs did.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Account {
    /// How many there were.
    pub jobs: u64,
    /// How many of them were programs of their own.
    pub executed: u64,
    /// Bytes that the kernel took from their stdout.
    pub stdout: u64,
    /// The same of stderr.
    pub stderr: u64,
    /// Seconds that it took.
    pub seconds: f64,
    /// Those with a loss, or what looks like one.
    pub planted: Vec<Planted>,
}

impl AddAssign for Account {
    fn add_assign(&mut self, other: Self) {
        let Self { jobs, executed, stdout, stderr, seconds, planted } = other;
        self.jobs += jobs;
        self.executed += executed;
        self.stdout += stdout;
        self.stderr += stderr;
        self.seconds += seconds;
        self.planted.extend(planted);
    }
}

/// What the manager is asked for, one JSON line each.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub enum Request {
    /// Jobs of all sorts.
    Mixed {
        /// How many.
        jobs: u64,
        /// How many each second; 0 is as many as possible.
        rate: u64,
        /// Each job of this number has a planted loss; 0 plants none.
        loss_each: u64,
    },
    /// Jobs that are programs of their own, each with two pipes, and nothing else.
    Plain {
        /// How many.
        jobs: u64,
        /// How many each second; 0 is as many as possible.
        rate: u64,
    },
    /// Ends what runs for long.
    End,
}

impl Request {
    /// How long it may take.
    fn limit(self) -> Duration {
        let (jobs, rate) = match self {
            Self::Mixed { jobs, rate, .. } | Self::Plain { jobs, rate } => (jobs, rate),
            Self::End => (0, 0),
        };
        let rate = if rate == 0 { 100 } else { rate };
        *DEADLINE + patient(Duration::from_secs(jobs * 4 / rate))
    }
}

/// A running manager, killed when dropped.
#[derive(Debug)]
pub struct Manager {
    child: OwnedChild,
    requests: ChildStdin,
    answers: Receiver<String>,
}

impl Manager {
    /// Starts this program `jobs`; its jobs will run in this cgroup, itself does not.
    pub fn start(program: &Path, cgroup: &Path) -> Result<Self> {
        let mut command = Command::new(program);
        command.arg("manage").arg(cgroup).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = OwnedChild::spawn(&mut command, "jobs")?;
        let (requests, answers) = (child.take_stdin()?, lines(child.take_stdout()?));
        Ok(Self { child, requests, answers })
    }

    /// Its pid.
    pub fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// Has it do this and returns what it did.
    pub fn ask(&mut self, request: Request) -> Result<Account> {
        let mut line = serde_json::to_string(&request)?;
        line.push('\n');
        self.requests.write_all(line.as_bytes()).context("the manager of the jobs has ended")?;
        let limit = request.limit();
        let answer = self.answers.recv_timeout(limit);
        let answer =
            answer.with_context(|| format!("no answer to {request:?} in {} s", limit.as_secs()))?;
        serde_json::from_str(&answer).with_context(|| format!("jobs said: {answer}"))
    }

    /// Ends it and what runs for long, and returns what the latter did.
    pub fn end(mut self) -> Result<Account> {
        let account = self.ask(Request::End)?;
        drop(self.requests);
        let status = self.child.wait()?;
        ensure!(status.success(), "the manager of the jobs ended with {status}");
        Ok(account)
    }
}
